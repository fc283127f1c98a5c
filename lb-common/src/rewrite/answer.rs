//! Answers: the packet itself, turned round.
//!
//! ```text
//! ARP        | eth | request ...             ->  | eth | reply, our MAC for the VIP ...
//! neighbor   | eth | ip | solicitation ...   ->  | eth | ip | advertisement, target, our MAC
//! echo       | eth | ip | echo request ...   ->  | eth | ip | echo reply ...
//! too big    | eth | ip | tcp ...            ->  | eth | ip | icmp | ip | tcp ... cut off
//! ```

#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths of headers and of what is quoted, below 1,500 bytes"
)]

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::abi::control::mac_bytes;
use crate::abi::features::Features;
use crate::checksum::{self, complement, fold, sum4, sum16};
use crate::decide::Answer;
use crate::frame::{EthHdr, Frame};
use crate::parse::{IPV4_LEN, IPV6_LEN, MAX_L3_OFFSET, MAX_L4_OFFSET, protocol};
use crate::rewrite::l2;

/// What has to become of a frame before its answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Length that the frame is cut, or grown, to, in bytes; `None` leaves it.
    pub len_bytes: Option<usize>,
    /// Bytes that the head grows by then.
    pub head_bytes: u16,
}

/// Hop limit of what we send ourselves.
const TTL: u8 = 64;
/// ICMP error in front of what it quotes, in bytes.
const ICMP_LEN: usize = 8;
/// Advertisement with one option: 24 bytes and 8.
const ADVERTISEMENT_LEN: usize = 32;
/// An error quotes as much as fits into 576 bytes (RFC 1812, 4.3.2.3), in whole words of eight.
const QUOTED_V4: usize = 544;
/// An error quotes as much as fits into 1,280 bytes (RFC 4443, 2.4).
const QUOTED_V6: usize = 1232;

/// Bytes of a packet that an error quotes.
#[inline(always)]
#[must_use]
pub const fn quoted_bytes(is_v4: bool) -> u16 {
    if is_v4 { QUOTED_V4 as u16 } else { QUOTED_V6 as u16 }
}

/// The size that the answer needs.
#[inline(always)]
#[must_use]
pub const fn size(answer: &Answer) -> Size {
    match *answer {
        Answer::Arp { .. } | Answer::Echo { .. } => Size { len_bytes: None, head_bytes: 0 },
        Answer::Neighbor { l3_offset, .. } => {
            Size { len_bytes: Some(l3_offset + IPV6_LEN + ADVERTISEMENT_LEN), head_bytes: 0 }
        }
        Answer::TooBig { l3_offset, is_v4: true, .. } => {
            Size { len_bytes: Some(l3_offset + QUOTED_V4), head_bytes: (IPV4_LEN + ICMP_LEN) as u16 }
        }
        Answer::TooBig { l3_offset, is_v4: false, .. } => {
            Size { len_bytes: Some(l3_offset + QUOTED_V6), head_bytes: (IPV6_LEN + ICMP_LEN) as u16 }
        }
    }
}

/// Writes the answer into a frame of its size, if the loaded program has the `features` for it.
#[inline(never)]
#[must_use]
pub fn write(frame: &mut Frame<'_>, features: Features, answer: &Answer) -> Option<()> {
    // The masks are for the verifier, as in `Packet::l3`.
    match *answer {
        Answer::Arp { .. } | Answer::Neighbor { .. } if !features.has(Features::NEIGHBORS) => None,
        Answer::Arp { l3_offset, mac } => arp(frame, l3_offset & MAX_L3_OFFSET, mac_bytes(mac)),
        Answer::Neighbor { l3_offset, mac } => neighbor(frame, l3_offset & MAX_L3_OFFSET, mac_bytes(mac)),
        Answer::Echo { l3_offset, l4_offset, is_v4 } => {
            echo(frame, l3_offset & MAX_L3_OFFSET, l4_offset & MAX_L4_OFFSET, is_v4)
        }
        Answer::TooBig { l3_offset, is_v4: true, mtu_bytes } => {
            too_big_v4(frame, l3_offset & MAX_L3_OFFSET, mtu_bytes)
        }
        Answer::TooBig { l3_offset, is_v4: false, mtu_bytes } => {
            too_big_v6(frame, l3_offset & MAX_L3_OFFSET, mtu_bytes)
        }
    }
}

/// Back to the sender, from a MAC of ours.
#[inline(always)]
fn turn(frame: &mut Frame<'_>, mac: [u8; 6]) -> Option<()> {
    let eth = frame.get_mut::<EthHdr>(0)?;
    let [a, b, c, d, e, f] = eth.src;
    eth.dst_low = [a, b, c, d];
    eth.dst_high = [e, f];
    eth.src = mac;
    Some(())
}

/// Sender and receiver exchanged.
#[inline(always)]
fn turn_macs(frame: &mut Frame<'_>) -> Option<()> {
    let eth = frame.get_mut::<EthHdr>(0)?;
    let ([a, b, c, d], [e, f]) = (eth.dst_low, eth.dst_high);
    turn(frame, [a, b, c, d, e, f])
}

#[inline(always)]
fn arp(frame: &mut Frame<'_>, l3: usize, mac: [u8; 6]) -> Option<()> {
    let sender_mac = *frame.get::<[u8; 6]>(l3 + 8)?;
    let sender = *frame.get::<[u8; 4]>(l3 + 14)?;
    let vip = *frame.get::<[u8; 4]>(l3 + 24)?;
    turn(frame, mac)?;
    // Operation: reply.
    *frame.get_mut::<[u8; 2]>(l3 + 6)? = [0, 2];
    *frame.get_mut::<[u8; 6]>(l3 + 8)? = mac;
    *frame.get_mut::<[u8; 4]>(l3 + 14)? = vip;
    *frame.get_mut::<[u8; 6]>(l3 + 18)? = sender_mac;
    *frame.get_mut::<[u8; 4]>(l3 + 24)? = sender;
    Some(())
}

#[inline(always)]
fn neighbor(frame: &mut Frame<'_>, l3: usize, mac: [u8; 6]) -> Option<()> {
    const UNSPECIFIED: [u8; 16] = [0; 16];
    const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const LEN: [u8; 2] = [0, ADVERTISEMENT_LEN as u8];
    let asker = *frame.get::<[u8; 16]>(l3 + 8)?;
    let target = *frame.get::<[u8; 16]>(l3 + 48)?;
    turn(frame, mac)?;
    // Who is about to take the address for its own has none yet: everybody is told (RFC 4861, 7.2.4).
    let to_all = asker == UNSPECIFIED;
    let destination = if to_all { ALL_NODES } else { asker };
    if to_all {
        let eth = frame.get_mut::<EthHdr>(0)?;
        eth.dst_low = [0x33, 0x33, 0, 0];
        eth.dst_high = [0, 1];
    }
    let ip = frame.get_mut::<Ipv6Hdr>(l3)?;
    ip.payload_len = LEN;
    ip.hop_limit = 255;
    ip.src_addr = target;
    ip.dst_addr = destination;
    // Solicited and override.
    let flags = if to_all { 0x20 } else { 0x60 };
    let [a, b, c, d, e, f] = mac;
    // Option: target link-layer address, one unit of eight bytes.
    let option = [2, 1, a, b, c, d, e, f];
    let sum = sum16(&target)
        + sum16(&destination)
        + u32::from(LEN[1])
        + u32::from(protocol::ICMPV6)
        + sum4([136, 0, 0, 0])
        + sum4([flags, 0, 0, 0])
        + sum16(&target)
        + sum4([2, 1, a, b])
        + sum4([c, d, e, f]);
    let [high, low] = complement(sum).to_be_bytes();
    *frame.get_mut::<[u8; 8]>(l3 + 40)? = [136, 0, high, low, flags, 0, 0, 0];
    *frame.get_mut::<[u8; 16]>(l3 + 48)? = target;
    *frame.get_mut::<[u8; 8]>(l3 + 64)? = option;
    Some(())
}

#[inline(always)]
fn echo(frame: &mut Frame<'_>, l3: usize, l4: usize, is_v4: bool) -> Option<()> {
    turn_macs(frame)?;
    if is_v4 {
        let ip = frame.get_mut::<Ipv4Hdr>(l3)?;
        (ip.src_addr, ip.dst_addr) = (ip.dst_addr, ip.src_addr);
        let changed = checksum::difference(u32::from(ip.ttl) << 8, u32::from(TTL) << 8);
        ip.check = checksum::update(ip.check, changed);
        ip.ttl = TTL;
    } else {
        let ip = frame.get_mut::<Ipv6Hdr>(l3)?;
        (ip.src_addr, ip.dst_addr) = (ip.dst_addr, ip.src_addr);
        ip.hop_limit = TTL;
    }
    let (request, reply) = if is_v4 { (8_u16 << 8, 0) } else { (128 << 8, 129 << 8) };
    let [_, code, high, low] = *frame.get::<[u8; 4]>(l4)?;
    let [high, low] = checksum::update([high, low], checksum::difference(u32::from(request), reply));
    *frame.get_mut::<[u8; 4]>(l4)? = [if is_v4 { 0 } else { 129 }, code, high, low];
    Some(())
}

/// Fragmentation needed (RFC 792, RFC 1191), from the VIP itself.
#[inline(always)]
fn too_big_v4(frame: &mut Frame<'_>, l3: usize, mtu_bytes: u16) -> Option<()> {
    const GROWN: usize = IPV4_LEN + ICMP_LEN;
    const LEN: u16 = (GROWN + QUOTED_V4) as u16;
    l2::move_up(frame, GROWN, l3)?;
    turn_macs(frame)?;
    let quoted = *frame.get::<Ipv4Hdr>(l3 + GROWN)?;
    let [high, low] = LEN.to_be_bytes();
    let sum = sum4([0x45, 0, high, low])
        + sum4([TTL, protocol::ICMP, 0, 0])
        + sum4(quoted.dst_addr)
        + sum4(quoted.src_addr);
    *frame.get_mut::<Ipv4Hdr>(l3)? = Ipv4Hdr {
        vihl: 0x45,
        tos: 0,
        tot_len: [high, low],
        id: [0; 2],
        frags: [0; 2],
        ttl: TTL,
        proto: protocol::ICMP,
        check: complement(sum).to_be_bytes(),
        src_addr: quoted.dst_addr,
        dst_addr: quoted.src_addr,
    };
    let [mtu_high, mtu_low] = mtu_bytes.to_be_bytes();
    let sum = sum4([3, 4, 0, 0])
        + u32::from(mtu_bytes)
        + u32::from(sum_quoted::<{ QUOTED_V4 / 8 }>(frame, l3 + GROWN)?);
    let [high, low] = complement(sum).to_be_bytes();
    *frame.get_mut::<[u8; 8]>(l3 + IPV4_LEN)? = [3, 4, high, low, 0, 0, mtu_high, mtu_low];
    Some(())
}

/// Packet too big (RFC 4443, 3.2), from the VIP itself.
#[inline(always)]
fn too_big_v6(frame: &mut Frame<'_>, l3: usize, mtu_bytes: u16) -> Option<()> {
    const GROWN: usize = IPV6_LEN + ICMP_LEN;
    const LEN: u16 = (ICMP_LEN + QUOTED_V6) as u16;
    l2::move_up(frame, GROWN, l3)?;
    turn_macs(frame)?;
    let quoted = *frame.get::<Ipv6Hdr>(l3 + GROWN)?;
    *frame.get_mut::<Ipv6Hdr>(l3)? = Ipv6Hdr {
        vcf: [0x60, 0, 0, 0],
        payload_len: LEN.to_be_bytes(),
        next_hdr: protocol::ICMPV6,
        hop_limit: TTL,
        src_addr: quoted.dst_addr,
        dst_addr: quoted.src_addr,
    };
    let [mtu_high, mtu_low] = mtu_bytes.to_be_bytes();
    let sum = sum16(&quoted.dst_addr)
        + sum16(&quoted.src_addr)
        + u32::from(LEN)
        + u32::from(protocol::ICMPV6)
        + sum4([2, 0, 0, 0])
        + u32::from(mtu_bytes)
        + u32::from(sum_quoted::<{ QUOTED_V6 / 8 }>(frame, l3 + GROWN)?);
    let [high, low] = complement(sum).to_be_bytes();
    *frame.get_mut::<[u8; 8]>(l3 + IPV6_LEN)? = [2, 0, high, low, 0, 0, mtu_high, mtu_low];
    Some(())
}

/// Sum of `WORDS` times eight bytes.
#[inline(never)]
fn sum_quoted<const WORDS: usize>(frame: &Frame<'_>, at: usize) -> Option<u16> {
    let mut sum = 0;
    let mut word = 0;
    while word < WORDS {
        let [a, b, c, d, e, f, g, h] = *frame.get::<[u8; 8]>(at + word * 8)?;
        sum += sum4([a, b, c, d]) + sum4([e, f, g, h]);
        word += 1;
    }
    Some(fold(sum))
}
