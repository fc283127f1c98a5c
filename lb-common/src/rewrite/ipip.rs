//! An outer IP header of the packet's own family (IPv4 in IPv4: RFC 2003, IPv6 in IPv6: RFC 2473).
//!
//! ```text
//! before              | eth [tags] |                | ip | tcp or udp ...
//! after   | eth [tags] | outer 20 or 40 bytes        | ip | tcp or udp ...
//!         ^ new start               l3_offset ^
//! ```
//!
//! Userspace has prepared the outer header with everything that is the same for all packets of a backend, its checksum
//! summed; the length, the traffic class (RFC 6040: the ECN bits are copied with it) and some bits of the source follow.

use crate::checksum::complement;
use crate::decide::Forward;
use crate::frame::Frame;
use crate::parse::{IPV4_LEN, IPV6_LEN, ether_type};
use crate::rewrite::l2;

/// IPv4 around IPv4; the frame has grown by 20 bytes.
#[inline(always)]
#[must_use]
pub fn v4(frame: &mut Frame<'_>, forward: &Forward<'_>) -> Option<()> {
    let backend = forward.backend;
    l2::move_up(frame, IPV4_LEN, forward.l3_offset, backend, ether_type::IPV4)?;
    let outer = frame.get_mut::<[u8; IPV4_LEN]>(forward.l3_offset)?;
    let template = backend.outer.first_chunk::<IPV4_LEN>()?;
    // `decide` has compared the sum with an MTU of 16 bits.
    let length = forward.length_bytes.wrapping_add(20);
    let source_bits = source_bits(forward);
    let checksum = complement(
        u32::from(backend.outer_sum)
            + u32::from(length)
            + u32::from(forward.traffic_class)
            + u32::from(source_bits),
    );
    *outer = *template;
    outer[1] = forward.traffic_class;
    [outer[2], outer[3]] = length.to_be_bytes();
    [outer[10], outer[11]] = checksum.to_be_bytes();
    [outer[14], outer[15]] = with_bits([template[14], template[15]], source_bits);
    Some(())
}

/// IPv6 around IPv6; the frame has grown by 40 bytes.
#[inline(always)]
#[must_use]
pub fn v6(frame: &mut Frame<'_>, forward: &Forward<'_>) -> Option<()> {
    let backend = forward.backend;
    l2::move_up(frame, IPV6_LEN, forward.l3_offset, backend, ether_type::IPV6)?;
    let outer = frame.get_mut::<[u8; IPV6_LEN]>(forward.l3_offset)?;
    let source_bits = source_bits(forward);
    *outer = backend.outer;
    outer[0] = 0x60 | (forward.traffic_class >> 4);
    outer[1] = forward.traffic_class << 4;
    // The payload of the outer packet is the whole inner one.
    [outer[4], outer[5]] = forward.length_bytes.to_be_bytes();
    [outer[22], outer[23]] = with_bits([backend.outer[22], backend.outer[23]], source_bits);
    Some(())
}

/// The bits of the flow hash that vary the outer source address.
#[inline(always)]
const fn source_bits(forward: &Forward<'_>) -> u16 {
    (forward.flow_hash & forward.backend.outer_source_mask as u64) as u16
}

#[inline(always)]
const fn with_bits(bytes: [u8; 2], bits: u16) -> [u8; 2] {
    (u16::from_be_bytes(bytes) | bits).to_be_bytes()
}
