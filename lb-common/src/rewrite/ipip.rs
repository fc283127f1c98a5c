//! An outer IP header, of either family around either (RFC 2003, RFC 4213, RFC 2473).
//!
//! ```text
//! before              | eth [tags] |                | ip | tcp or udp ...
//! after   | eth [tags] | outer 20 or 40 bytes        | ip | tcp or udp ...
//!         ^ new start               l3_offset ^
//! ```
//!
//! Userspace has prepared the outer header with everything that is the same for all packets of a backend, its checksum
//! summed; the length, the traffic class (RFC 6040: the ECN bits are copied with it) and some bits of the source follow.

use crate::abi::backend::Backend;
use crate::checksum::complement;
use crate::decide::Forward;
use crate::frame::{Frame, Head};
use crate::parse::{ETH_LEN, IPV4_LEN, IPV6_LEN, ether_type};
use crate::rewrite::{decrement, l2};

/// Behind IPv4; the frame has grown by 20 bytes.
#[inline(always)]
#[must_use]
pub fn v4(frame: &mut Frame<'_>, forward: &Forward, backend: &Backend) -> Option<()> {
    let l3_offset = forward.packet.l3();
    decrement(frame, l3_offset + IPV4_LEN, forward.packet.is_v4)?;
    let words = if l3_offset == ETH_LEN {
        let head = frame.get_mut::<Head<5>>(0)?;
        head.macs = l2::macs(backend);
        head.ether_type = ether_type::IPV4.to_ne_bytes();
        &mut head.ip
    } else {
        l2::move_tags_up(frame, IPV4_LEN, l3_offset, backend, ether_type::IPV4)?;
        frame.get_mut::<[[u8; 4]; 5]>(l3_offset)?
    };
    let [a, b, c, d, e] = words;
    write_v4([a, b, c, d, e], forward, backend, 0);
    Some(())
}

/// Behind IPv6; the frame has grown by 40 bytes.
#[inline(always)]
#[must_use]
pub fn v6(frame: &mut Frame<'_>, forward: &Forward, backend: &Backend) -> Option<()> {
    let l3_offset = forward.packet.l3();
    decrement(frame, l3_offset + IPV6_LEN, forward.packet.is_v4)?;
    let words = if l3_offset == ETH_LEN {
        let head = frame.get_mut::<Head<10>>(0)?;
        head.macs = l2::macs(backend);
        head.ether_type = ether_type::IPV6.to_ne_bytes();
        &mut head.ip
    } else {
        l2::move_tags_up(frame, IPV6_LEN, l3_offset, backend, ether_type::IPV6)?;
        frame.get_mut::<[[u8; 4]; 10]>(l3_offset)?
    };
    let [a, b, c, d, e, f, g, h, i, j] = words;
    write_v6([a, b, c, d, e, f, g, h, i, j], forward, backend, 0);
    Some(())
}

/// The outer IPv4 header; `more_bytes` of another one stand between it and the packet.
#[inline(always)]
pub(super) fn write_v4(outer: [&mut [u8; 4]; 5], forward: &Forward, backend: &Backend, more_bytes: u16) {
    let traffic_class = forward.packet.traffic_class;
    // `decide` has compared the sum with an MTU of 16 bits.
    let length = forward.packet.length_bytes.wrapping_add(20 + more_bytes);
    let source_bits = source_bits(forward, backend);
    let checksum = complement(
        u32::from(backend.sum) + u32::from(length) + u32::from(traffic_class) + u32::from(source_bits),
    );
    let [length_high, length_low] = length.to_be_bytes();
    let [checksum_high, checksum_low] = checksum.to_be_bytes();
    let [version, _, _, _] = word(&backend.template, 0);
    let [ttl, protocol, _, _] = word(&backend.template, 8);
    *outer[0] = [version, traffic_class, length_high, length_low];
    *outer[1] = word(&backend.template, 4);
    *outer[2] = [ttl, protocol, checksum_high, checksum_low];
    *outer[3] = with_bits(word(&backend.template, 12), source_bits);
    *outer[4] = word(&backend.template, 16);
}

/// The outer IPv6 header; `more_bytes` of another one stand between it and the packet.
#[inline(always)]
pub(super) fn write_v6(outer: [&mut [u8; 4]; 10], forward: &Forward, backend: &Backend, more_bytes: u16) {
    let traffic_class = forward.packet.traffic_class;
    // The payload of the outer packet is the whole inner one.
    let [length_high, length_low] = forward.packet.length_bytes.wrapping_add(more_bytes).to_be_bytes();
    let [_, _, next_header, hop_limit] = word(&backend.template, 4);
    *outer[0] = [0x60 | (traffic_class >> 4), traffic_class << 4, 0, 0];
    *outer[1] = [length_high, length_low, next_header, hop_limit];
    *outer[2] = word(&backend.template, 8);
    *outer[3] = word(&backend.template, 12);
    *outer[4] = word(&backend.template, 16);
    *outer[5] = with_bits(word(&backend.template, 20), source_bits(forward, backend));
    *outer[6] = word(&backend.template, 24);
    *outer[7] = word(&backend.template, 28);
    *outer[8] = word(&backend.template, 32);
    *outer[9] = word(&backend.template, 36);
}

/// The bits of the flow hash that vary the outer source address: the last ones of the half whose first ones pick the slot.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the mask has 16 bits")]
pub(super) const fn source_bits(forward: &Forward, backend: &Backend) -> u16 {
    (forward.packet.flow_hash >> 32 & backend.bits as u64) as u16
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
