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
use crate::frame::{Frame, Head};
use crate::parse::{ETH_LEN, IPV4_LEN, IPV6_LEN, ether_type};
use crate::rewrite::l2;

/// IPv4 around IPv4; the frame has grown by 20 bytes.
#[inline(always)]
#[must_use]
pub fn v4(frame: &mut Frame<'_>, forward: &Forward<'_>) -> Option<()> {
    if forward.l3_offset == ETH_LEN {
        let head = frame.get_mut::<Head<5>>(0)?;
        head.macs = l2::macs(forward.backend);
        head.ether_type = ether_type::IPV4.to_ne_bytes();
        write_v4(&mut head.ip, forward);
        return Some(());
    }
    l2::move_tags_up(frame, IPV4_LEN, forward.l3_offset, forward.backend, ether_type::IPV4)?;
    write_v4(frame.get_mut::<[[u8; 4]; 5]>(forward.l3_offset)?, forward);
    Some(())
}

/// IPv6 around IPv6; the frame has grown by 40 bytes.
#[inline(always)]
#[must_use]
pub fn v6(frame: &mut Frame<'_>, forward: &Forward<'_>) -> Option<()> {
    if forward.l3_offset == ETH_LEN {
        let head = frame.get_mut::<Head<10>>(0)?;
        head.macs = l2::macs(forward.backend);
        head.ether_type = ether_type::IPV6.to_ne_bytes();
        write_v6(&mut head.ip, forward);
        return Some(());
    }
    l2::move_tags_up(frame, IPV6_LEN, forward.l3_offset, forward.backend, ether_type::IPV6)?;
    write_v6(frame.get_mut::<[[u8; 4]; 10]>(forward.l3_offset)?, forward);
    Some(())
}

#[inline(always)]
fn write_v4(outer: &mut [[u8; 4]; 5], forward: &Forward<'_>) {
    let backend = forward.backend;
    // `decide` has compared the sum with an MTU of 16 bits.
    let length = forward.length_bytes.wrapping_add(20);
    let source_bits = source_bits(forward);
    let checksum = complement(
        u32::from(backend.outer_sum)
            + u32::from(length)
            + u32::from(forward.traffic_class)
            + u32::from(source_bits),
    );
    let [length_high, length_low] = length.to_be_bytes();
    let [checksum_high, checksum_low] = checksum.to_be_bytes();
    let [version, _, _, _] = word(&backend.outer, 0);
    let [ttl, protocol, _, _] = word(&backend.outer, 8);
    outer[0] = [version, forward.traffic_class, length_high, length_low];
    outer[1] = word(&backend.outer, 4);
    outer[2] = [ttl, protocol, checksum_high, checksum_low];
    outer[3] = with_bits(word(&backend.outer, 12), source_bits);
    outer[4] = word(&backend.outer, 16);
}

#[inline(always)]
fn write_v6(outer: &mut [[u8; 4]; 10], forward: &Forward<'_>) {
    let backend = forward.backend;
    // The payload of the outer packet is the whole inner one.
    let [length_high, length_low] = forward.length_bytes.to_be_bytes();
    let [_, _, next_header, hop_limit] = word(&backend.outer, 4);
    outer[0] = [0x60 | (forward.traffic_class >> 4), forward.traffic_class << 4, 0, 0];
    outer[1] = [length_high, length_low, next_header, hop_limit];
    outer[2] = word(&backend.outer, 8);
    outer[3] = word(&backend.outer, 12);
    outer[4] = word(&backend.outer, 16);
    outer[5] = with_bits(word(&backend.outer, 20), source_bits(forward));
    outer[6] = word(&backend.outer, 24);
    outer[7] = word(&backend.outer, 28);
    outer[8] = word(&backend.outer, 32);
    outer[9] = word(&backend.outer, 36);
}

/// The bits of the flow hash that vary the outer source address: the last ones of the half whose first ones pick the slot.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the mask has 16 bits")]
const fn source_bits(forward: &Forward<'_>) -> u16 {
    (forward.flow_hash >> 32 & forward.backend.outer_source_mask as u64) as u16
}

/// Sets bits in the last half of a word of an address.
#[inline(always)]
const fn with_bits(word: [u8; 4], bits: u16) -> [u8; 4] {
    (u32::from_be_bytes(word) | bits as u32).to_be_bytes()
}

/// Four bytes of the template at once: as a copy of a header it would become a call.
#[inline(always)]
const fn word(template: &[u8; 40], at: usize) -> [u8; 4] {
    u32::from_ne_bytes([template[at], template[at + 1], template[at + 2], template[at + 3]]).to_ne_bytes()
}
