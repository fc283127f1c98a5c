//! Frames, made from what somebody types and read for somebody to see.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::abi::service::Address;
use lb_common::checksum::{complement, sum};
use lb_common::frame::{EthHdr, Frame};
use lb_common::parse::{self, ETH_LEN, Fragment, Network, ether_type, protocol, tcp_flags};

/// A packet that somebody asks about: the first or any other one of a flow, without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A TCP segment, SYN or ACK.
    Tcp {
        /// From and to.
        ends: (SocketAddr, SocketAddr),
        /// Whether it begins a connection.
        syn: bool,
    },
    /// A UDP datagram.
    Udp {
        /// From and to.
        ends: (SocketAddr, SocketAddr),
    },
    /// An ICMP or ICMPv6 echo request.
    Echo {
        /// From and to.
        ends: (IpAddr, IpAddr),
    },
}

/// Where a frame for nobody in particular comes from: a locally administered address.
const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0];
/// Hops that a host sends its packets with.
const TTL: u8 = 64;

impl Header {
    /// The frame that carries it to an interface.
    #[must_use]
    pub fn frame(&self, destination_mac: [u8; 6]) -> Vec<u8> {
        let (from, to) = match self {
            Self::Tcp { ends: (from, to), .. } | Self::Udp { ends: (from, to) } => (from.ip(), to.ip()),
            Self::Echo { ends } => *ends,
        };
        let (number, mut part, sum_at) = self.part(from.is_ipv4());
        let pseudo = if number == protocol::ICMP { 0 } else { pseudo_sum(from, to, number, part.len()) };
        let checksum = complement(pseudo + sum(&part)).to_be_bytes();
        part[sum_at..sum_at + 2].copy_from_slice(&checksum);
        let mut frame = [destination_mac, SOURCE_MAC].concat();
        frame.extend(ip_header(from, to, number, part.len()));
        frame.extend(part);
        frame
    }

    /// Protocol number, transport header, and where its checksum stands.
    fn part(&self, is_v4: bool) -> (u8, Vec<u8>, usize) {
        match self {
            Self::Tcp { ends: (from, to), syn } => {
                let flags = if *syn { tcp_flags::SYN } else { tcp_flags::ACK };
                let ports = [from.port(), to.port()].map(u16::to_be_bytes).concat();
                // Sequence and acknowledgment number, five words of header, flags, window, checksum, urgent pointer.
                let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
                (protocol::TCP, [&ports[..], &rest].concat(), 16)
            }
            Self::Udp { ends: (from, to) } => {
                (protocol::UDP, [from.port(), to.port(), 8, 0].map(u16::to_be_bytes).concat(), 6)
            }
            Self::Echo { .. } if is_v4 => (protocol::ICMP, vec![8, 0, 0, 0, 0, 1, 0, 1], 2),
            Self::Echo { .. } => (protocol::ICMPV6, vec![128, 0, 0, 0, 0, 1, 0, 1], 2),
        }
    }
}

/// Sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1).
fn pseudo_sum(from: IpAddr, to: IpAddr, number: u8, len: usize) -> u32 {
    let addresses = |address| match address {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    };
    addresses(from) + addresses(to) + u32::from(number) + u32::from(length(len))
}

/// EtherType and IP header.
fn ip_header(from: IpAddr, to: IpAddr, number: u8, len: usize) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = length(parse::IPV4_LEN + len).to_be_bytes();
            // Don't-fragment, as every stack sets it.
            let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, TTL, number, 0, 0];
            header.extend([from.octets(), to.octets()].concat());
            let checksum = complement(sum(&header)).to_be_bytes();
            header[10..12].copy_from_slice(&checksum);
            [&[0x08, 0x00], &header[..]].concat()
        }
        (from, to) => {
            let [high, low] = length(len).to_be_bytes();
            let header = [0x86, 0xdd, 0x60, 0, 0, 0, high, low, number, TTL];
            [&header[..], &octets(from), &octets(to)].concat()
        }
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Packets that are made here have a header and a few bytes.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// The bytes that [`hex`] has written.
///
/// # Errors
/// When it is something else.
pub fn from_hex(hex: &str) -> Result<Vec<u8>, String> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    let bytes = hex.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>();
    bytes.ok_or_else(|| "is not made of pairs of hexadecimal digits".to_owned())
}

/// What a frame says, as far as somebody wants to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Destination and source MAC.
    pub macs: ([u8; 6], [u8; 6]),
    /// In a word: `tcp`, `icmpv6`, `arp`, or a number.
    pub protocol: String,
    /// IP addresses, from and to.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Ports, from and to.
    pub ports: Option<(u16, u16)>,
    /// Its TCP flags.
    pub flags: Option<u8>,
    /// Its part in a fragmented packet.
    pub fragment: Fragment,
}

impl Summary {
    /// Reads a frame; `None` when there is not even an Ethernet header.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let mut bytes = frame.to_vec();
        let frame = Frame::from_bytes(&mut bytes);
        let eth = frame.get::<EthHdr>(0)?;
        let (low, high) = (eth.dst_low, eth.dst_high);
        let macs = ([low[0], low[1], low[2], low[3], high[0], high[1]], eth.src);
        let nothing = |protocol: String| Self {
            macs,
            protocol,
            addresses: None,
            ports: None,
            flags: None,
            fragment: Fragment::Whole,
        };
        let link = parse::link(&frame, eth).unwrap_or(parse::Link { l3_offset: ETH_LEN, ether_type: 0 });
        let network = match link.ether_type {
            ether_type::IPV4 => {
                parse::ipv4(&frame, link.l3_offset).ok().map(|ip| parse::network_v4(link.l3_offset, ip))
            }
            ether_type::IPV6 => parse::ipv6(&frame, link.l3_offset)
                .ok()
                .and_then(|ip| parse::network_v6(&frame, link.l3_offset, ip).ok()),
            ether_type::ARP => return Some(nothing("arp".to_owned())),
            other => return Some(nothing(format!("ethertype {:#06x}", u16::from_be(other)))),
        };
        let Some(network) = network else { return Some(nothing("a broken ip header".to_owned())) };
        let transport = match network.fragment {
            Fragment::Whole | Fragment::First { .. } => {
                parse::transport(&frame, &network).and_then(Result::ok)
            }
            Fragment::Later { .. } => None,
        };
        Some(Self {
            addresses: Some((ip(network.source), ip(network.destination))),
            ports: transport.map(|transport| {
                let [a, b, c, d] = transport.ports;
                (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
            }),
            flags: transport.filter(|one| one.protocol == protocol::TCP).map(|one| one.flags),
            fragment: network.fragment,
            ..nothing(protocol_name(&network))
        })
    }

    /// From and to, as people write them.
    #[must_use]
    pub fn ends(&self) -> Option<(String, String)> {
        let (from, to) = self.addresses?;
        Some(match self.ports {
            Some((source, destination)) => {
                (SocketAddr::new(from, source).to_string(), SocketAddr::new(to, destination).to_string())
            }
            None => (from.to_string(), to.to_string()),
        })
    }

    /// The names of its TCP flags.
    #[must_use]
    pub fn flag_names(&self) -> Vec<&'static str> {
        let names = [
            (tcp_flags::SYN, "syn"),
            (tcp_flags::FIN, "fin"),
            (tcp_flags::RST, "rst"),
            (tcp_flags::ACK, "ack"),
        ];
        let flags = self.flags.unwrap_or_default();
        names.into_iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| name).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ends() {
            Some((from, to)) => write!(f, "{} {from} -> {to}", self.protocol),
            None => f.write_str(&self.protocol),
        }
    }
}

fn protocol_name(network: &Network) -> String {
    match network.protocol {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::ICMP => "icmp".to_owned(),
        protocol::ICMPV6 => "icmpv6".to_owned(),
        protocol::IPV4 | protocol::IPV6 => "ipip".to_owned(),
        number => format!("ip protocol {number}"),
    }
}

fn ip(address: Address) -> IpAddr {
    if address.is_v4() {
        Ipv4Addr::from(address.octets_v4()).into()
    } else {
        Ipv6Addr::from(address.octets()).into()
    }
}

#[cfg(test)]
mod tests {
    use lb_common::checksum::fold;

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn ends(from: &str, to: &str) -> (SocketAddr, SocketAddr) {
        (from.parse().unwrap(), to.parse().unwrap())
    }

    #[test]
    fn a_made_frame_reads_as_what_was_asked_for() {
        let four = ends("198.51.100.7:40000", "192.0.2.10:80");
        let six = ends("[2001:db8:1::7]:40000", "[2001:db8::10]:80");
        let echo4 = (four.0.ip(), four.1.ip());
        let echo6 = (six.0.ip(), six.1.ip());
        let rows = [
            (
                Header::Tcp { ends: four, syn: true },
                "tcp 198.51.100.7:40000 -> 192.0.2.10:80",
                vec!["syn"],
                54,
            ),
            (
                Header::Tcp { ends: six, syn: false },
                "tcp [2001:db8:1::7]:40000 -> [2001:db8::10]:80",
                vec!["ack"],
                74,
            ),
            (Header::Udp { ends: four }, "udp 198.51.100.7:40000 -> 192.0.2.10:80", vec![], 42),
            (Header::Udp { ends: six }, "udp [2001:db8:1::7]:40000 -> [2001:db8::10]:80", vec![], 62),
            (Header::Echo { ends: echo4 }, "icmp 198.51.100.7 -> 192.0.2.10", vec![], 42),
            (Header::Echo { ends: echo6 }, "icmpv6 2001:db8:1::7 -> 2001:db8::10", vec![], 62),
        ];
        for (header, text, flags, len) in rows {
            let frame = header.frame(MAC);
            let summary = Summary::of(&frame).unwrap();
            assert_eq!((summary.to_string().as_str(), summary.flag_names()), (text, flags));
            assert_eq!((summary.macs, frame.len()), ((MAC, SOURCE_MAC), len), "{text}");
        }
    }

    #[test]
    fn hexadecimal_comes_back_as_it_went() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(hex(&bytes[..3]), "000102");
        assert_eq!(from_hex(&hex(&bytes)), Ok(bytes));
        assert!(["0", "+1", "zz", "é"].iter().all(|text| from_hex(text).is_err()));
    }

    #[test]
    fn checksums_of_made_frames_are_right() {
        let header = Header::Udp { ends: ends("198.51.100.7:1", "192.0.2.10:53") };
        let frame = header.frame(MAC);
        assert_eq!(fold(sum(&frame[14..34])), 0xffff);
        let pseudo = sum(&frame[26..34]) + 17 + 8;
        assert_eq!(fold(pseudo + sum(&frame[34..])), 0xffff);
    }

    #[test]
    fn what_is_no_packet_is_told_in_a_word() {
        let of = |ether_type: [u8; 2], rest: &[u8]| {
            Summary::of(&[&[0; 12], &ether_type[..], rest].concat()).unwrap().to_string()
        };
        assert_eq!(of([0x08, 0x06], &[]), "arp");
        assert_eq!(of([0x88, 0xcc], &[]), "ethertype 0x88cc");
        assert_eq!(of([0x08, 0x00], &[0x55; 20]), "a broken ip header");
        assert_eq!(Summary::of(&[0; 13]), None);
    }
}
