//! Frames, built layer by layer from the inside out.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Destination MAC of frames for the node.
pub const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Source MAC of frames from the client's side.
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// TCP's protocol number.
pub const TCP: u8 = 6;
/// UDP's protocol number.
pub const UDP: u8 = 17;

/// An Ethernet frame: MACs, VLAN tags as (TPID, TCI), EtherType, payload.
#[must_use]
pub fn ethernet(dst: [u8; 6], src: [u8; 6], tags: &[(u16, u16)], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [dst, src].concat();
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A frame from the client to the node, EtherType by the version of the IP packet inside.
#[must_use]
pub fn to_node(ip: &[u8]) -> Vec<u8> {
    tagged_to_node(&[], ip)
}

/// The same behind VLAN tags.
#[must_use]
pub fn tagged_to_node(tags: &[(u16, u16)], ip: &[u8]) -> Vec<u8> {
    ethernet(NODE_MAC, CLIENT_MAC, tags, ether_type_of(ip), ip)
}

/// The EtherType of an IP packet.
#[must_use]
pub fn ether_type_of(ip: &[u8]) -> u16 {
    if ip.first().is_some_and(|byte| byte >> 4 == 6) { 0x86dd } else { 0x0800 }
}

/// What an IPv4 header says besides lengths and checksum.
#[derive(Clone, Copy, Debug)]
pub struct V4<'a> {
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub protocol: u8,
    /// From.
    pub source: Ipv4Addr,
    /// To.
    pub destination: Ipv4Addr,
    /// Options, a multiple of 4 bytes.
    pub options: &'a [u8],
}

/// The header most rows use.
#[must_use]
pub fn v4(source: [u8; 4], destination: [u8; 4], protocol: u8) -> V4<'static> {
    V4 {
        tos: 0,
        id: 0x1234,
        fragment: 0x4000,
        ttl: 64,
        protocol,
        source: source.into(),
        destination: destination.into(),
        options: &[],
    }
}

impl V4<'_> {
    /// The packet with a payload.
    #[must_use]
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let total = u16::try_from(header_len + payload.len()).expect("a packet of a test is short");
        let words = u8::try_from(header_len / 4).expect("a header has at most 15 words");
        let mut ip = vec![0x40 | words, self.tos];
        ip.extend(total.to_be_bytes());
        ip.extend(self.id.to_be_bytes());
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([self.ttl, self.protocol, 0, 0]);
        ip.extend(self.source.octets());
        ip.extend(self.destination.octets());
        ip.extend(self.options);
        let sum = internet_checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        ip.extend(payload);
        ip
    }
}

/// An IPv6 packet; `next` is the number of whatever `payload` begins with.
#[must_use]
pub fn v6(traffic_class: u8, source: Ipv6Addr, destination: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("a packet of a test is short");
    let mut ip = vec![0x60 | (traffic_class >> 4), traffic_class << 4, 0, 0];
    ip.extend(len.to_be_bytes());
    ip.extend([next, 64]);
    ip.extend(source.octets());
    ip.extend(destination.octets());
    ip.extend(payload);
    ip
}

/// An IPv6 extension header of `units` times 8 bytes more than its first 8, in front of `rest`.
#[must_use]
pub fn extension(next: u8, units: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![next, units];
    // One PadN option fills it (RFC 8200, 4.2), in pieces of at most 255 bytes.
    let mut left = usize::from(units) * 8 + 6;
    while left > 0 {
        let piece = left.min(257);
        match piece {
            1 => header.push(0),
            _ => {
                header.extend([1, u8::try_from(piece - 2).expect("at most 255")]);
                header.extend(vec![0; piece - 2]);
            }
        }
        left -= piece;
    }
    header.extend(rest);
    header
}

/// A TCP segment with the SYN flag, and no checksum that is right.
#[must_use]
pub fn tcp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    tcp_with(SYN, source, destination, payload)
}

/// TCP's SYN flag.
pub const SYN: u8 = 0x02;
/// TCP's ACK flag.
pub const ACK: u8 = 0x10;

/// The same with other flags.
#[must_use]
pub fn tcp_with(flags: u8, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut segment = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

/// An IP packet without extension headers, the checksum of whose TCP, UDP or ICMP part is right.
#[must_use]
pub fn summed(mut ip: Vec<u8>) -> Vec<u8> {
    let is_v6 = ip[0] >> 4 == 6;
    let (l4, protocol, addresses) = if is_v6 {
        (40, ip[6], ip[8..40].to_vec())
    } else {
        (usize::from(ip[0] & 0xf) * 4, ip[9], ip[12..20].to_vec())
    };
    let (at, pseudo) = match protocol {
        TCP => (16, true),
        UDP => (6, true),
        _ => (2, is_v6),
    };
    ip[l4 + at..l4 + at + 2].fill(0);
    let mut summed = ip[l4..].to_vec();
    if summed.len() % 2 == 1 {
        summed.push(0);
    }
    if pseudo {
        let len = u16::try_from(ip.len() - l4).expect("a packet of a test is short");
        summed.extend(addresses);
        summed.extend(len.to_be_bytes());
        summed.extend([0, protocol]);
    }
    let sum = match internet_checksum(&summed) {
        0 if protocol == UDP => 0xffff,
        sum => sum,
    };
    ip[l4 + at..l4 + at + 2].copy_from_slice(&sum.to_be_bytes());
    ip
}

/// The packet after a router: one hop less to live.
#[must_use]
pub fn routed(ip: &[u8]) -> Vec<u8> {
    let mut ip = ip.to_vec();
    if ip[0] >> 4 == 6 {
        ip[7] -= 1;
        return ip;
    }
    ip[8] -= 1;
    ip[10..12].fill(0);
    let header = usize::from(ip[0] & 0xf) * 4;
    let sum = internet_checksum(&ip[..header]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip
}

/// A UDP datagram without checksum.
#[must_use]
pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("a datagram of a test is short");
    let mut datagram = [source, destination, len, 0].map(u16::to_be_bytes).concat();
    datagram.extend(payload);
    datagram
}

/// RFC 1071, the plain way: 64-bit sum of 16-bit words, carries folded in.
#[must_use]
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u64 =
        bytes.chunks(2).map(|w| u64::from(w[0]) << 8 | u64::from(w.get(1).copied().unwrap_or(0))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}
