//! From bytes to headers: Ethernet, up to two VLAN tags, IPv4 with options, IPv6 with extension headers, TCP and UDP ports.
//!
//! The functions are steps, each checked for itself, because [`decide`](crate::decide) stops as early as it can: a packet
//! that is not for a VIP is not looked at past its destination address.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use crate::abi::service::Address;
use crate::frame::{EthHdr, Frame, VlanHdr};
use crate::reason::{DropReason, PassReason};

/// EtherTypes (IEEE 802 numbers), as [`ether_type`](fn@ether_type) reads them.
pub mod ether_type {
    use super::ether_type as read;

    /// IPv4.
    pub const IPV4: u16 = read([0x08, 0x00]);
    /// IPv6.
    pub const IPV6: u16 = read([0x86, 0xdd]);
    /// ARP (RFC 826).
    pub const ARP: u16 = read([0x08, 0x06]);
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
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
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

/// No IP header begins behind this: there are two tags at most.
pub const MAX_L3_OFFSET: usize = 0x1f;
/// No transport header begins behind this: there are six extension headers of 2,048 bytes at most.
pub const MAX_L4_OFFSET: usize = 0x3fff;

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

/// TCP flags (RFC 9293, 3.1), as they stand in the fourteenth byte of the header.
pub mod tcp_flags {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 1 << 1;
    /// Reset.
    pub const RST: u8 = 1 << 2;
    /// Acknowledgment.
    pub const ACK: u8 = 1 << 4;

    /// For each combination of the six old flags whether it is one that no stack sends: none at all, SYN with FIN or RST.
    const IMPOSSIBLE: u64 = {
        let mut set = 0;
        let mut flags = 0_u8;
        while flags < 64 {
            if flags == 0 || flags & SYN != 0 && flags & (FIN | RST) != 0 {
                set |= 1 << flags;
            }
            flags += 1;
        }
        set
    };

    /// Whether no stack sends these.
    #[inline(always)]
    #[must_use]
    pub const fn are_impossible(flags: u8) -> bool {
        IMPOSSIBLE >> (flags & 0x3f) & 1 != 0
    }

    /// Whether they begin a connection.
    #[inline(always)]
    #[must_use]
    pub const fn begin(flags: u8) -> bool {
        flags & (SYN | ACK) == SYN
    }
}

/// What is a packet's part in a fragmented one (RFC 791, RFC 8200 4.5)?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// It is not fragmented.
    Whole,
    /// The first fragment, which has the transport header.
    First {
        /// Identification.
        id: u32,
    },
    /// Another one.
    Later {
        /// Identification.
        id: u32,
    },
}

/// The IP header of a packet to a VIP, or of what may be a reply, whatever its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// From.
    pub source: Address,
    /// To.
    pub destination: Address,
    /// Where the IP header begins, in bytes from the start of the frame.
    pub l3_offset: usize,
    /// Where the transport header begins, in bytes from the start of the frame.
    pub l4_offset: usize,
    /// IP protocol number of it.
    pub protocol: u8,
    /// Length of the whole IP packet by its header, in bytes.
    pub length_bytes: u16,
    /// Type of service, or traffic class.
    pub traffic_class: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Its part in a fragmented packet.
    pub fragment: Fragment,
}

impl Network {
    /// Nobody's.
    pub const NONE: Self = Self {
        source: Address::v4([0; 4]),
        destination: Address::v4([0; 4]),
        l3_offset: 0,
        l4_offset: 0,
        protocol: 0,
        length_bytes: 0,
        traffic_class: 0,
        ttl: 0,
        fragment: Fragment::Whole,
    };

    /// [`Self::l3_offset`]. The mask says nothing new: in the kernel this stands in a map, and the verifier knows nothing of what
    /// is in it.
    #[inline(always)]
    #[must_use]
    pub const fn l3(&self) -> usize {
        self.l3_offset & MAX_L3_OFFSET
    }

    /// [`Self::l4_offset`], as [`Self::l3`].
    #[inline(always)]
    #[must_use]
    pub const fn l4(&self) -> usize {
        self.l4_offset & MAX_L4_OFFSET
    }

    /// Bytes behind the IP header and its extensions, by the header.
    #[inline(always)]
    #[must_use]
    pub const fn transport_len(&self) -> usize {
        (self.l3_offset + self.length_bytes as usize).saturating_sub(self.l4_offset)
    }
}

/// The transport header of a packet that may be for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Transport {
    /// Source and destination port, wire bytes, in the order of the header. First, for words on the kernel's stack are read at
    /// their own alignment only.
    pub ports: [u8; 4],
    /// IP protocol number: TCP or UDP.
    pub protocol: u8,
    /// TCP flags; of UDP nothing that means anything.
    pub flags: u8,
    /// Whether a UDP header says that it has no checksum (RFC 768).
    pub without_checksum: bool,
}

impl Transport {
    /// Whether it is a TCP segment that begins a connection.
    #[inline(always)]
    #[must_use]
    pub const fn is_syn(&self) -> bool {
        self.protocol == protocol::TCP && tcp_flags::begin(self.flags)
    }

    /// Whether it is a TCP segment that no stack sends.
    #[inline(always)]
    #[must_use]
    pub const fn is_impossible(&self) -> bool {
        self.protocol == protocol::TCP && tcp_flags::are_impossible(self.flags)
    }
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

/// What an IPv4 header says, options stepped over.
#[inline(always)]
#[must_use]
pub fn network_v4(l3_offset: usize, ip: &Ipv4Hdr) -> Network {
    // More-fragments bit and offset (RFC 791).
    let bits = u16::from_be_bytes(ip.frags);
    let id = u32::from(u16::from_be_bytes(ip.id));
    Network {
        source: Address::v4(ip.src_addr),
        destination: Address::v4(ip.dst_addr),
        l3_offset,
        l4_offset: l3_offset + usize::from(ip.vihl & 0x0f) * 4,
        protocol: ip.proto,
        length_bytes: u16::from_be_bytes(ip.tot_len),
        traffic_class: ip.tos,
        ttl: ip.ttl,
        fragment: match (bits & 0x1fff, bits & 0x2000) {
            (0, 0) => Fragment::Whole,
            (0, _) => Fragment::First { id },
            _ => Fragment::Later { id },
        },
    }
}

/// What an IPv6 header says, extension headers stepped over.
#[inline(always)]
pub fn network_v6(frame: &Frame<'_>, l3_offset: usize, ip: &Ipv6Hdr) -> Result<Network, DropReason> {
    // 40 bytes more than 65,535 cannot be told in an outer header, and no link here carries it.
    let length_bytes = u16::from_be_bytes(ip.payload_len).checked_add(40).ok_or(DropReason::BadLength)?;
    let behind = match ip.next_hdr {
        protocol::TCP | protocol::UDP => {
            Behind { protocol: ip.next_hdr, headers_len: IPV6_LEN, fragment: Fragment::Whole }
        }
        first => extension_headers(frame, l3_offset, first)?,
    };
    Ok(Network {
        source: Address::v6(&ip.src_addr),
        destination: Address::v6(&ip.dst_addr),
        l3_offset,
        l4_offset: l3_offset + behind.headers_len,
        protocol: behind.protocol,
        length_bytes,
        traffic_class: traffic_class_v6(ip),
        ttl: ip.hop_limit,
        fragment: behind.fragment,
    })
}

/// The traffic class lies across the first two bytes, behind the version (RFC 8200, 3).
#[inline(always)]
#[must_use]
pub const fn traffic_class_v6(ip: &Ipv6Hdr) -> u8 {
    (ip.vcf[0] << 4) | (ip.vcf[1] >> 4)
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

/// Length and transport header behind a header of [`plain_v4`], if nothing is wrong with them.
#[inline(always)]
#[must_use]
pub fn plain_transport_v4(frame: &Frame<'_>, ip: &Ipv4Hdr) -> Option<(u16, Transport)> {
    if u16::from_be_bytes(ip.frags) & 0x3fff != 0 {
        return None;
    }
    plain_transport(frame, IPV4_LEN, ip.proto, u16::from_be_bytes(ip.tot_len))
}

/// Length and transport header behind a header of [`plain_v6`], if nothing is wrong with them.
#[inline(always)]
#[must_use]
pub fn plain_transport_v6(frame: &Frame<'_>, ip: &Ipv6Hdr) -> Option<(u16, Transport)> {
    plain_transport(frame, IPV6_LEN, ip.next_hdr, u16::from_be_bytes(ip.payload_len).checked_add(40)?)
}

#[inline(always)]
fn plain_transport(
    frame: &Frame<'_>,
    headers_len: usize,
    protocol: u8,
    length_bytes: u16,
) -> Option<(u16, Transport)> {
    let header = frame.get::<[u8; 14]>(ETH_LEN + headers_len)?;
    let length = usize::from(length_bytes);
    // Every TCP packet is that long, and nearly every UDP packet; a shorter one is looked at more closely.
    if length < headers_len + size_of::<TcpHdr>() || !frame.reaches(ETH_LEN + length) {
        return None;
    }
    let transport = Transport {
        protocol,
        ports: [header[0], header[1], header[2], header[3]],
        flags: header[13],
        without_checksum: [header[6], header[7]] == [0, 0],
    };
    Some((length_bytes, transport))
}

/// What is behind extension headers.
struct Behind {
    protocol: u8,
    headers_len: usize,
    fragment: Fragment,
}

/// Steps over extension headers, up to the transport header or what a later fragment has in its place.
#[inline(always)]
fn extension_headers(frame: &Frame<'_>, l3_offset: usize, first: u8) -> Result<Behind, DropReason> {
    let mut behind = Behind { protocol: first, headers_len: IPV6_LEN, fragment: Fragment::Whole };
    for _ in 0..MAX_EXTENSION_HEADERS {
        let at = l3_offset + behind.headers_len;
        match behind.protocol {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS => {
                // Next header, and the length in units of 8 bytes without the first (RFC 8200, 4.3).
                let [next, units] = *frame.get::<[u8; 2]>(at).ok_or(DropReason::ExtensionHeaders)?;
                behind.protocol = next;
                behind.headers_len += (usize::from(units) + 1) * 8;
            }
            protocol::FRAGMENT if behind.fragment == Fragment::Whole => {
                // Next header, reserved, 13 bits of offset and the M flag, identification (RFC 8200, 4.5).
                let [next, _, high, low, a, b, c, d] =
                    *frame.get::<[u8; 8]>(at).ok_or(DropReason::ExtensionHeaders)?;
                let (bits, id) = (u16::from_be_bytes([high, low]), u32::from_be_bytes([a, b, c, d]));
                behind.protocol = next;
                behind.headers_len += 8;
                behind.fragment = match (bits & !7, bits & 1) {
                    // An atomic fragment is a whole packet (RFC 6946).
                    (0, 0) => Fragment::Whole,
                    (0, _) => Fragment::First { id },
                    _ => Fragment::Later { id },
                };
                if matches!(behind.fragment, Fragment::Later { .. }) {
                    return Ok(behind);
                }
            }
            _ => return Ok(behind),
        }
    }
    match behind.protocol {
        protocol::TCP | protocol::UDP | protocol::ICMPV6 => Ok(behind),
        _ => Err(DropReason::ExtensionHeaders),
    }
}

/// Shortest transport header that a packet can have, in bytes: UDP's, and ICMP's.
pub const MIN_TRANSPORT_LEN: usize = size_of::<UdpHdr>();

/// The transport header, once lengths are known to fit: the packet within the frame, the shortest header within the packet.
/// `None` when it is neither TCP nor UDP.
#[inline(always)]
pub fn transport(frame: &Frame<'_>, network: &Network) -> Option<Result<Transport, DropReason>> {
    let minimum = match network.protocol {
        protocol::TCP => size_of::<TcpHdr>(),
        protocol::UDP => MIN_TRANSPORT_LEN,
        _ => return None,
    };
    Some(read_transport(frame, network, minimum))
}

#[inline(always)]
fn read_transport(frame: &Frame<'_>, network: &Network, minimum: usize) -> Result<Transport, DropReason> {
    let at = network.l4();
    // A frame that ends inside the header is cut off; any other mismatch is a lie about the length.
    if !frame.holds(at + minimum) {
        return Err(DropReason::TruncatedTransport);
    }
    if !fits(frame, network, minimum) {
        return Err(DropReason::BadLength);
    }
    let header = *frame.get::<[u8; 8]>(at).ok_or(DropReason::TruncatedTransport)?;
    let flags = match network.protocol {
        protocol::TCP => frame.get::<[u8; 2]>(at + 12).ok_or(DropReason::TruncatedTransport)?[1],
        _ => 0,
    };
    Ok(Transport {
        protocol: network.protocol,
        ports: [header[0], header[1], header[2], header[3]],
        flags,
        without_checksum: [header[6], header[7]] == [0, 0],
    })
}

/// Whether the packet has at least `transport_len` bytes behind its IP header, and the frame all of the packet.
#[inline(always)]
#[must_use]
pub const fn fits(frame: &Frame<'_>, network: &Network, transport_len: usize) -> bool {
    network.transport_len() >= transport_len && frame.holds(network.l3_offset + network.length_bytes as usize)
}
