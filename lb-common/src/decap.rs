//! The receiving side of modes `ipip` and `gue`, on a backend: takes off the outer header that a balancer has put on.
//!
//! ```text
//! before  | eth [tags] | outer IP [options] | [udp] | inner IP | ...
//! after                        | eth [tags]         | inner IP | ...
//!                              ^ new start
//! ```
//!
//! Only what is certainly a balancer's: to this host's MAC, whole, of the right length and sum, from a source and to a VIP that
//! were named. Everything else is left as it came for the kernel's stack, which may have a tunnel device of its own.
//!
//! The inner time to live stays: this host is where the packet was going. The checksum of an outer UDP header is not looked at,
//! as RFC 6935 lets tunnels do: all that it covers beyond the outer header the inner packet's own sums cover.

use crate::abi::control::{holds, mac_word};
use crate::abi::decap::{Config, SourceKey, VipKey, family, words, words_v4};
use crate::checksum::{difference, fold, sum_in, sum4, update};
use crate::frame::{EthHdr, Frame};
use crate::parse::{self, IPV4_LEN, IPV6_LEN, ether_type, protocol};
use crate::reason::{self, reasons};
use crate::rewrite::l2;

reasons! {
    /// Why a frame was left to the kernel's stack as it came. The number is part of its counter's.
    PassReason {
        /// The tables cannot be reached.
        NotConfigured = 0, "not-configured";
        /// The frame is shorter than a header that it announces.
        Truncated = 1, "truncated";
        /// The destination MAC is not one of the interfaces'.
        OtherMac = 2, "other-mac";
        /// Neither IPv4 nor IPv6, ARP for instance.
        NotIp = 3, "not-ip";
        /// An outer IP header whose version or header length is impossible.
        BadIpHeader = 4, "bad-ip-header";
        /// Neither IP in IP nor UDP to the port of GUE.
        NotEncapsulated = 5, "not-encapsulated";
        /// A fragment of IP in IP or of UDP: the stack puts them together.
        Fragment = 6, "fragment";
        /// The outer IPv4 header's checksum is wrong.
        BadChecksum = 7, "bad-checksum";
        /// A length that does not fit: the outer packet into the frame, the inner one into the outer one, headers into either.
        BadLength = 8, "bad-length";
        /// The outer source is in none of the prefixes that packets are taken from.
        UnlistedSource = 9, "unlisted-source";
        /// What is behind the outer header is no IP packet: GUE with a header of its own (variant 0), for instance.
        NoInnerPacket = 10, "no-inner-packet";
        /// The inner destination is none of the VIPs.
        UnlistedVip = 11, "unlisted-vip";
    }
}

reasons! {
    /// Why a frame died. The number is part of its counter's.
    DropReason {
        /// The network has marked congestion on the outer header, and the inner packet's sender would take no notice
        /// (RFC 6040, 4.2).
        NotEcnCapable = 0, "not-ecn-capable";
        /// The start of the frame could not be moved, or the frame was shorter than its parsed self: a mistake in the shell.
        NotMoved = 1, "not-moved";
    }
}

/// What the receiving side knows.
pub trait Tables {
    /// What it was told; `None` before.
    fn config(&self) -> Option<&Config>;

    /// Whether packets are taken from a source.
    fn is_source(&self, key: &SourceKey) -> bool;

    /// Whether a destination is a VIP.
    fn is_vip(&self, key: &VipKey) -> bool;
}

/// What to do with a frame.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take its outer header off.
    Decapsulate(Decap),
    /// Leave it as it came.
    Pass(PassReason),
    /// Let it die.
    Drop(DropReason),
}

/// How an outer header comes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decap {
    /// Where the outer IP header begins, in bytes from the start of the frame: 14, 18 or 22.
    l3_offset: usize,
    /// Bytes between the outer and the inner IP header, the outer one included: what the frame loses in front.
    outer_len: usize,
    /// Whether the inner packet is IPv4.
    is_v4: bool,
    /// The ECN bits (RFC 3168) that the inner packet goes on with.
    ecn: u8,
}

impl Decap {
    /// Bytes that the frame loses in front: the outer header's.
    #[inline(always)]
    #[must_use]
    pub const fn outer_len(&self) -> usize {
        self.outer_len
    }

    /// The second byte of the inner header with the ECN bits of this packet: the last ones of IPv4's type of service; IPv6's
    /// traffic class lies across the first two bytes, behind the version (RFC 8200, 3).
    #[inline(always)]
    const fn marked(&self, byte: u8) -> u8 {
        if self.is_v4 { byte & !0x03 | self.ecn } else { byte & !0x30 | self.ecn << 4 }
    }
}

/// What an outer IP header says.
struct Outer {
    protocol: u8,
    traffic_class: u8,
    l3_offset: usize,
    /// Length of the header, in bytes.
    header_len: usize,
    /// Length of the whole packet, in bytes.
    length_bytes: usize,
}

/// An outer header of a balancer.
struct Tunnel {
    protocol: u8,
    traffic_class: u8,
    l3_offset: usize,
    /// Length of it and of the UDP header behind it, in bytes.
    outer_len: usize,
    /// Length of what is behind them, in bytes.
    payload_len: usize,
}

/// Decides about a frame.
#[inline(always)]
pub fn decide<T: Tables>(frame: &Frame<'_>, tables: &T) -> Decision {
    look(frame, tables).unwrap_or_else(Decision::Pass)
}

#[inline(always)]
fn look<T: Tables>(frame: &Frame<'_>, tables: &T) -> Result<Decision, PassReason> {
    let config = tables.config().ok_or(PassReason::NotConfigured)?;
    let eth = frame.get::<EthHdr>(0).ok_or(PassReason::Truncated)?;
    if !holds(&config.macs, mac_word(eth.dst_low, eth.dst_high)) {
        return Err(PassReason::OtherMac);
    }
    let link = parse::link(frame, eth).map_err(|_| PassReason::Truncated)?;
    let tunnel = match link.ether_type {
        ether_type::IPV4 => tunnel_v4(frame, link.l3_offset, config, tables)?,
        ether_type::IPV6 => tunnel_v6(frame, link.l3_offset, config, tables)?,
        _ => return Err(PassReason::NotIp),
    };
    let inner_offset = tunnel.l3_offset + tunnel.outer_len;
    let is_v4 = is_inner_v4(frame, tunnel.protocol, inner_offset)?;
    let traffic_class = if is_v4 {
        inner_v4(frame, inner_offset, tunnel.payload_len, tables)?
    } else {
        inner_v6(frame, inner_offset, tunnel.payload_len, tables)?
    };
    Ok(match ecn(tunnel.traffic_class, traffic_class) {
        Some(ecn) => {
            let Tunnel { l3_offset, outer_len, .. } = tunnel;
            Decision::Decapsulate(Decap { l3_offset, outer_len, is_v4, ecn })
        }
        None => Decision::Drop(DropReason::NotEcnCapable),
    })
}

/// What `parse` has said of a header, in the words of this side: it is cut off, or `bad`.
#[inline(always)]
fn told(reason: reason::PassReason, bad: PassReason) -> PassReason {
    if reason == reason::PassReason::Truncated { PassReason::Truncated } else { bad }
}

// Keys of lookups are made where they are used: one that comes from either of two places is put together on the kernel's stack
// by stores across their alignment, which the verifier refuses.

#[inline(always)]
fn tunnel_v4<T: Tables>(
    frame: &Frame<'_>,
    l3_offset: usize,
    config: &Config,
    tables: &T,
) -> Result<Tunnel, PassReason> {
    let ip = parse::ipv4(frame, l3_offset).map_err(|reason| told(reason, PassReason::BadIpHeader))?;
    may_encapsulate(ip.proto)?;
    // More-fragments bit and offset (RFC 791).
    if u16::from_be_bytes(ip.frags) & 0x3fff != 0 {
        return Err(PassReason::Fragment);
    }
    let outer = Outer {
        protocol: ip.proto,
        traffic_class: ip.tos,
        l3_offset,
        header_len: usize::from(ip.vihl & 0x0f) * 4,
        length_bytes: usize::from(u16::from_be_bytes(ip.tot_len)),
    };
    let udp_len = udp_len(frame, &outer, config)?;
    verify(frame, &outer)?;
    let tunnel = tunnel(frame, &outer, udp_len)?;
    let source = SourceKey { family: family::V4, address: words_v4(ip.src_addr) };
    if tables.is_source(&source) { Ok(tunnel) } else { Err(PassReason::UnlistedSource) }
}

#[inline(always)]
fn tunnel_v6<T: Tables>(
    frame: &Frame<'_>,
    l3_offset: usize,
    config: &Config,
    tables: &T,
) -> Result<Tunnel, PassReason> {
    let ip = parse::ipv6(frame, l3_offset).map_err(|reason| told(reason, PassReason::BadIpHeader))?;
    // A balancer writes no extension headers.
    if ip.next_hdr == protocol::FRAGMENT {
        return Err(PassReason::Fragment);
    }
    may_encapsulate(ip.next_hdr)?;
    let outer = Outer {
        protocol: ip.next_hdr,
        traffic_class: parse::traffic_class_v6(ip),
        l3_offset,
        header_len: IPV6_LEN,
        length_bytes: IPV6_LEN + usize::from(u16::from_be_bytes(ip.payload_len)),
    };
    let udp_len = udp_len(frame, &outer, config)?;
    let tunnel = tunnel(frame, &outer, udp_len)?;
    let source = SourceKey { family: family::V6, address: words(ip.src_addr) };
    if tables.is_source(&source) { Ok(tunnel) } else { Err(PassReason::UnlistedSource) }
}

/// The lengths of an outer packet that fits.
#[inline(always)]
const fn tunnel(frame: &Frame<'_>, outer: &Outer, udp_len: usize) -> Result<Tunnel, PassReason> {
    let &Outer { protocol, traffic_class, l3_offset, header_len, length_bytes } = outer;
    let outer_len = header_len + udp_len;
    if length_bytes < outer_len || !frame.holds(l3_offset + length_bytes) {
        return Err(PassReason::BadLength);
    }
    let payload_len = length_bytes - outer_len;
    Ok(Tunnel { protocol, traffic_class, l3_offset, outer_len, payload_len })
}

/// Whether a protocol can have a packet inside.
#[inline(always)]
const fn may_encapsulate(protocol: u8) -> Result<(), PassReason> {
    match protocol {
        protocol::IPV4 | protocol::IPV6 | protocol::UDP => Ok(()),
        _ => Err(PassReason::NotEncapsulated),
    }
}

/// Length of the UDP header between the outer and the inner one, in bytes: none in mode `ipip`.
#[inline(always)]
fn udp_len(frame: &Frame<'_>, outer: &Outer, config: &Config) -> Result<usize, PassReason> {
    const UDP_LEN: usize = 8;
    if outer.protocol != protocol::UDP {
        return Ok(0);
    }
    // Source and destination port, length, checksum (RFC 768).
    let [_, _, a, b, c, d, _, _] =
        *frame.get::<[u8; UDP_LEN]>(outer.l3_offset + outer.header_len).ok_or(PassReason::Truncated)?;
    if [a, b] != config.gue_port {
        return Err(PassReason::NotEncapsulated);
    }
    // It has nothing else in the packet.
    if usize::from(u16::from_be_bytes([c, d])) + outer.header_len != outer.length_bytes {
        return Err(PassReason::BadLength);
    }
    Ok(UDP_LEN)
}

/// Whether the checksum of an IPv4 header is right (RFC 1071).
#[inline(always)]
fn verify(frame: &Frame<'_>, outer: &Outer) -> Result<(), PassReason> {
    let words = frame.get::<[[u8; 4]; 5]>(outer.l3_offset).ok_or(PassReason::Truncated)?;
    let [a, b, c, d, e] = *words;
    let mut sum = sum4(a) + sum4(b) + sum4(c) + sum4(d) + sum4(e);
    if outer.header_len > IPV4_LEN {
        let (at, options_len) = (outer.l3_offset + IPV4_LEN, outer.header_len - IPV4_LEN);
        sum += u32::from(sum_in(frame, at, options_len).ok_or(PassReason::Truncated)?);
    }
    if fold(sum) == 0xffff { Ok(()) } else { Err(PassReason::BadChecksum) }
}

/// Whether the inner packet is IPv4: the outer protocol tells, or in GUE its first four bits, whose first two are the variant.
#[inline(always)]
fn is_inner_v4(frame: &Frame<'_>, outer_protocol: u8, inner_offset: usize) -> Result<bool, PassReason> {
    // Two bytes: the verifier draws nothing from a comparison that lets one be read.
    let [first, _] = *frame.get::<[u8; 2]>(inner_offset).ok_or(PassReason::Truncated)?;
    match (first >> 4, outer_protocol) {
        (4, protocol::IPV4 | protocol::UDP) => Ok(true),
        (6, protocol::IPV6 | protocol::UDP) => Ok(false),
        _ => Err(PassReason::NoInnerPacket),
    }
}

/// The traffic class of an inner packet to a VIP.
#[inline(always)]
fn inner_v4<T: Tables>(
    frame: &Frame<'_>,
    inner_offset: usize,
    room: usize,
    tables: &T,
) -> Result<u8, PassReason> {
    let ip = parse::ipv4(frame, inner_offset).map_err(|reason| told(reason, PassReason::NoInnerPacket))?;
    let length_bytes = usize::from(u16::from_be_bytes(ip.tot_len));
    if length_bytes < usize::from(ip.vihl & 0x0f) * 4 || length_bytes > room {
        return Err(PassReason::BadLength);
    }
    let vip = VipKey { address: words_v4(ip.dst_addr), family: u64::from(family::V4) };
    if tables.is_vip(&vip) { Ok(ip.tos) } else { Err(PassReason::UnlistedVip) }
}

/// The same of IPv6.
#[inline(always)]
fn inner_v6<T: Tables>(
    frame: &Frame<'_>,
    inner_offset: usize,
    room: usize,
    tables: &T,
) -> Result<u8, PassReason> {
    let ip = parse::ipv6(frame, inner_offset).map_err(|reason| told(reason, PassReason::NoInnerPacket))?;
    if IPV6_LEN + usize::from(u16::from_be_bytes(ip.payload_len)) > room {
        return Err(PassReason::BadLength);
    }
    let vip = VipKey { address: words(ip.dst_addr), family: u64::from(family::V6) };
    if tables.is_vip(&vip) { Ok(parse::traffic_class_v6(ip)) } else { Err(PassReason::UnlistedVip) }
}

/// ECN codepoints (RFC 3168, 5).
mod codepoint {
    pub(super) const NOT_ECT: u8 = 0;
    pub(super) const ECT_1: u8 = 1;
    pub(super) const ECT_0: u8 = 2;
    pub(super) const CE: u8 = 3;
}

/// The ECN bits that come out, from the traffic classes of both headers (RFC 6040, figure 4); `None` drops the packet.
#[inline(always)]
const fn ecn(outer: u8, inner: u8) -> Option<u8> {
    match (outer & 3, inner & 3) {
        (codepoint::CE, codepoint::NOT_ECT) => None,
        (codepoint::CE, _) => Some(codepoint::CE),
        (codepoint::ECT_1, codepoint::ECT_0) => Some(codepoint::ECT_1),
        (_, kept) => Some(kept),
    }
}

/// Marks the inner packet and moves the link header in front of it; the first [`Decap::outer_len`] bytes are to be cut off
/// then. `None` means that the frame was shorter than its parsed self.
#[inline(always)]
#[must_use]
pub fn rewrite(frame: &mut Frame<'_>, decap: &Decap) -> Option<()> {
    let [a, b] = (if decap.is_v4 { ether_type::IPV4 } else { ether_type::IPV6 }).to_ne_bytes();
    let word = l2::ether_type_at(frame, decap.outer_len, decap.l3_offset)?;
    let [_, _, high, low] = *word;
    let marked = decap.marked(low);
    *word = u32::from_ne_bytes([a, b, high, marked]).to_ne_bytes();
    if decap.is_v4 && marked != low {
        let field = frame.get_mut::<[u8; 2]>(decap.outer_len + decap.l3_offset + 10)?;
        *field = update(*field, difference(u32::from(low), u32::from(marked)));
    }
    l2::move_down(frame, decap.outer_len, decap.l3_offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6040, figure 4, row by row: inner Not-ECT, ECT(0), ECT(1), CE; outer in the same order.
    #[test]
    fn ecn_bits_combine_as_in_rfc_6040() {
        use codepoint::{CE, ECT_0, ECT_1, NOT_ECT};
        let order = [NOT_ECT, ECT_0, ECT_1, CE];
        let figure = [
            [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None],
            [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)],
            [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)],
            [Some(CE), Some(CE), Some(CE), Some(CE)],
        ];
        for (inner, row) in order.into_iter().zip(figure) {
            for (outer, expected) in order.into_iter().zip(row) {
                assert_eq!(ecn(outer, inner), expected, "outer {outer} inner {inner}");
                // What else is in the traffic class does not matter.
                assert_eq!(ecn(0xb8 | outer, 0x20 | inner), expected);
            }
        }
    }
}
