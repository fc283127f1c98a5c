//! From bytes to headers: Ethernet, up to two VLAN tags, IPv4 with options, IPv6 with extension headers, TCP and UDP ports.
//!
//! The functions are steps, each checked for itself, because [`decide`](crate::decide) stops as early as it can: a packet
//! that is not for a VIP is not looked at past its destination address.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use crate::frame::{EthHdr, Frame, VlanHdr};
use crate::reason::{DropReason, PassReason};

/// EtherTypes (IEEE 802 numbers), as [`ether_type`](fn@ether_type) reads them.
pub mod ether_type {
    use super::ether_type as read;

    /// IPv4.
    pub const IPV4: u16 = read([0x08, 0x00]);
    /// IPv6.
    pub const IPV6: u16 = read([0x86, 0xdd]);
    /// Customer VLAN tag (802.1Q).
    pub const VLAN: u16 = read([0x81, 0x00]);
    /// Service VLAN tag (802.1ad), the outer one of two.
    pub const SERVICE_VLAN: u16 = read([0x88, 0xa8]);
}

/// The two wire bytes of an EtherType as one number, in whatever order this machine compares fastest.
#[inline(always)]
#[must_use]
pub const fn ether_type(wire: [u8; 2]) -> u16 {
    u16::from_ne_bytes(wire)
}

/// IP protocol numbers (IANA).
pub mod protocol {
    /// Hop-by-hop options (RFC 8200, 4.3).
    pub const HOP_BY_HOP: u8 = 0;
    /// IPv4 in IP (RFC 2003).
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP (RFC 2473).
    pub const IPV6: u8 = 41;
    /// Routing header (RFC 8200, 4.4).
    pub const ROUTING: u8 = 43;
    /// Fragment header (RFC 8200, 4.5).
    pub const FRAGMENT: u8 = 44;
    /// Destination options (RFC 8200, 4.6).
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// Length of an Ethernet header without tags, in bytes.
pub const ETH_LEN: usize = size_of::<EthHdr>();
const VLAN_LEN: usize = size_of::<VlanHdr>();
/// Length of an IPv4 header without options, in bytes.
pub const IPV4_LEN: usize = size_of::<Ipv4Hdr>();
/// Length of an IPv6 header, in bytes.
pub const IPV6_LEN: usize = size_of::<Ipv6Hdr>();

/// IPv6 extension headers that are read before a packet is given up: more than any stack sends, few enough to be cheap.
pub const MAX_EXTENSION_HEADERS: u32 = 6;

/// What carries the transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where the IP header begins, in bytes from the start of the frame: 14, 18 or 22.
    pub l3_offset: usize,
    /// EtherType of it, one of [`mod@ether_type`].
    pub ether_type: u16,
}

/// Walks over the VLAN tags.
#[inline(always)]
pub fn link(frame: &Frame<'_>, eth: &EthHdr) -> Result<Link, PassReason> {
    let mut link = Link { l3_offset: ETH_LEN, ether_type: ether_type(eth.ether_type) };
    for _ in 0..2 {
        if link.ether_type != ether_type::VLAN && link.ether_type != ether_type::SERVICE_VLAN {
            break;
        }
        let tag = frame.get::<VlanHdr>(link.l3_offset).ok_or(PassReason::Truncated)?;
        link = Link { l3_offset: link.l3_offset + VLAN_LEN, ether_type: ether_type(tag.ether_type) };
    }
    Ok(link)
}

/// The transport part of a packet that may be for a service: its protocol can still be any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// IP protocol number.
    pub protocol: u8,
    /// Source and destination port, wire bytes, in the order of the header.
    pub ports: [u8; 4],
    /// Length of the whole IP packet by its header, in bytes.
    pub length_bytes: u16,
    /// Length of the transport header and what is behind it, in bytes: at least 8.
    pub transport_len: usize,
}

impl Transport {
    /// The destination port, host order.
    #[inline(always)]
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        (u32::from_be_bytes(self.ports) & 0xffff) as u16
    }

    /// Whether its protocol can have a service.
    #[inline(always)]
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        matches!(self.protocol, protocol::TCP | protocol::UDP)
    }

    /// Whether the packet ends before its TCP header does.
    #[inline(always)]
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.transport_len < size_of::<TcpHdr>() && self.protocol == protocol::TCP
    }
}

/// Why a packet to a VIP has no transport part that can be balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTransport {
    /// Neither TCP nor UDP.
    OtherProtocol,
    /// Broken, or a fragment.
    Unusable(DropReason),
}

/// An IPv4 header of the right version and a possible length.
#[inline(always)]
pub fn ipv4<'f>(frame: &'f Frame<'_>, l3_offset: usize) -> Result<&'f Ipv4Hdr, PassReason> {
    let ip = frame.get::<Ipv4Hdr>(l3_offset).ok_or(PassReason::Truncated)?;
    // Version 4, and five to fifteen words long.
    if !matches!(ip.vihl, 0x45..=0x4f) {
        return Err(PassReason::BadIpHeader);
    }
    Ok(ip)
}

/// An IPv6 header of the right version.
#[inline(always)]
pub fn ipv6<'f>(frame: &'f Frame<'_>, l3_offset: usize) -> Result<&'f Ipv6Hdr, PassReason> {
    let ip = frame.get::<Ipv6Hdr>(l3_offset).ok_or(PassReason::Truncated)?;
    if ip.vcf[0] >> 4 != 6 {
        return Err(PassReason::BadIpHeader);
    }
    Ok(ip)
}

/// The transport part behind an IPv4 header, options stepped over.
#[inline(always)]
pub fn transport_v4(frame: &Frame<'_>, l3_offset: usize, ip: &Ipv4Hdr) -> Result<Transport, NoTransport> {
    // More-fragments bit or a fragment offset (RFC 791).
    if u16::from_be_bytes(ip.frags) & 0x3fff != 0 {
        return Err(NoTransport::Unusable(DropReason::Fragment));
    }
    let header_len = usize::from(ip.vihl & 0x0f) * 4;
    let length_bytes = u16::from_be_bytes(ip.tot_len);
    transport(frame, l3_offset, header_len, ip.proto, length_bytes)
}

/// The transport part behind an IPv6 header, extension headers stepped over.
#[inline(always)]
pub fn transport_v6(frame: &Frame<'_>, l3_offset: usize, ip: &Ipv6Hdr) -> Result<Transport, NoTransport> {
    let payload = u16::from_be_bytes(ip.payload_len);
    // 40 bytes more than 65,535 cannot be told in the outer header, and no link here carries it.
    let Some(length_bytes) = payload.checked_add(40) else {
        return Err(NoTransport::Unusable(DropReason::BadLength));
    };
    let (protocol, headers_len) = match ip.next_hdr {
        protocol::TCP | protocol::UDP => (ip.next_hdr, IPV6_LEN),
        first => extension_headers(frame, l3_offset, first)?,
    };
    transport(frame, l3_offset, headers_len, protocol, length_bytes)
}

/// The IPv4 header of an untagged frame, if it has no options.
#[inline(always)]
#[must_use]
pub fn plain_v4<'f>(frame: &'f Frame<'_>) -> Option<&'f Ipv4Hdr> {
    frame.get::<Ipv4Hdr>(ETH_LEN).filter(|ip| ip.vihl == 0x45)
}

/// The IPv6 header of an untagged frame, if TCP or UDP follows.
#[inline(always)]
#[must_use]
pub fn plain_v6<'f>(frame: &'f Frame<'_>) -> Option<&'f Ipv6Hdr> {
    let plain = |ip: &&Ipv6Hdr| ip.vcf[0] >> 4 == 6 && matches!(ip.next_hdr, protocol::TCP | protocol::UDP);
    frame.get::<Ipv6Hdr>(ETH_LEN).filter(plain)
}

/// The transport part behind a header of [`plain_v4`], if nothing is wrong with it.
#[inline(always)]
#[must_use]
pub fn plain_transport_v4(frame: &Frame<'_>, ip: &Ipv4Hdr) -> Option<Transport> {
    if u16::from_be_bytes(ip.frags) & 0x3fff != 0 {
        return None;
    }
    plain_transport(frame, IPV4_LEN, ip.proto, u16::from_be_bytes(ip.tot_len))
}

/// The transport part behind a header of [`plain_v6`], if nothing is wrong with it.
#[inline(always)]
#[must_use]
pub fn plain_transport_v6(frame: &Frame<'_>, ip: &Ipv6Hdr) -> Option<Transport> {
    plain_transport(frame, IPV6_LEN, ip.next_hdr, u16::from_be_bytes(ip.payload_len).checked_add(40)?)
}

#[inline(always)]
fn plain_transport(
    frame: &Frame<'_>,
    headers_len: usize,
    protocol: u8,
    length_bytes: u16,
) -> Option<Transport> {
    let ports = frame.get::<[u8; 4]>(ETH_LEN + headers_len)?;
    let length = usize::from(length_bytes);
    // Every TCP packet is that long, and nearly every UDP packet; a shorter one is looked at more closely.
    if length < headers_len + size_of::<TcpHdr>() || ETH_LEN + length > frame.len_bytes() {
        return None;
    }
    Some(Transport { protocol, ports: *ports, length_bytes, transport_len: length - headers_len })
}

/// Steps over extension headers: the protocol behind them, and the length of all headers before it.
#[inline(always)]
fn extension_headers(frame: &Frame<'_>, l3_offset: usize, first: u8) -> Result<(u8, usize), NoTransport> {
    let mut next = first;
    let mut len = IPV6_LEN;
    for _ in 0..MAX_EXTENSION_HEADERS {
        match next {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {}
            protocol::FRAGMENT => return Err(NoTransport::Unusable(DropReason::Fragment)),
            _ => return Ok((next, len)),
        }
        // Next header, and the length in units of 8 bytes without the first (RFC 8200, 4.3).
        let Some([after, units]) = frame.get::<[u8; 2]>(l3_offset + len) else {
            return Err(NoTransport::Unusable(DropReason::ExtensionHeaders));
        };
        next = *after;
        len += (usize::from(*units) + 1) * 8;
    }
    match next {
        protocol::TCP | protocol::UDP => Ok((next, len)),
        _ => Err(NoTransport::Unusable(DropReason::ExtensionHeaders)),
    }
}

/// Shortest transport header that a packet can have, in bytes: UDP's.
const MIN_TRANSPORT_LEN: usize = size_of::<UdpHdr>();

/// Ports, once lengths are known to fit: the packet within the frame, the shortest header within the packet. Which protocol it
/// is matters only when they do not, because a service that the ports lead to has TCP or UDP.
#[inline(always)]
fn transport(
    frame: &Frame<'_>,
    l3_offset: usize,
    headers_len: usize,
    protocol: u8,
    length_bytes: u16,
) -> Result<Transport, NoTransport> {
    let length = usize::from(length_bytes);
    let fits = headers_len + MIN_TRANSPORT_LEN <= length && l3_offset + length <= frame.len_bytes();
    match frame.get::<[u8; 4]>(l3_offset + headers_len) {
        Some(ports) if fits => {
            Ok(Transport { protocol, ports: *ports, length_bytes, transport_len: length - headers_len })
        }
        Some(_) | None => Err(match protocol {
            protocol::TCP | protocol::UDP => {
                // A frame that ends inside the header is cut off; any other mismatch is a lie about the length.
                let cut = l3_offset + headers_len + minimum_len(protocol) > frame.len_bytes();
                NoTransport::Unusable(if cut {
                    DropReason::TruncatedTransport
                } else {
                    DropReason::BadLength
                })
            }
            _ => NoTransport::OtherProtocol,
        }),
    }
}

const fn minimum_len(protocol: u8) -> usize {
    if protocol == protocol::TCP { size_of::<TcpHdr>() } else { MIN_TRANSPORT_LEN }
}
