//! Which packets a capture wants, as far as that can be told when they come in: those from a network, and those to a service.

use crate::abi::control::Capture;
use crate::abi::node::Node;
use crate::abi::service::{Address, Endpoint, ServiceTable};
use crate::frame::{EthHdr, Frame};
use crate::parse::{self, Network, ether_type};

/// First slot of the service that a frame is to, plus one, or 0 for none; `None` when the frame is not wanted.
#[inline(always)]
#[must_use]
pub fn wanted(frame: &Frame<'_>, node: &Node) -> Option<u32> {
    let capture = &node.control.capture;
    // Not an `Option`: the verifier does not let what is not there be copied.
    let mut network = Network::NONE;
    let is_ip = read(frame, &mut network);
    if capture.family != 0 && !(is_ip && covers(capture, network.source)) {
        return None;
    }
    let services = &node.services[(node.control.active_half & 1) as usize];
    let service = if is_ip { service(frame, services, &network) } else { 0 };
    if capture.service != 0 && capture.service != service {
        return None;
    }
    Some(service)
}

/// Reads the IP header, if there is one.
#[inline(never)]
fn read(frame: &Frame<'_>, network: &mut Network) -> bool {
    let Some(eth) = frame.get::<EthHdr>(0) else { return false };
    let Ok(link) = parse::link(frame, eth) else { return false };
    match link.ether_type {
        ether_type::IPV4 => match parse::ipv4(frame, link.l3_offset) {
            Ok(ip) => *network = parse::network_v4(link.l3_offset, ip),
            Err(_) => return false,
        },
        ether_type::IPV6 => match parse::ipv6(frame, link.l3_offset) {
            Ok(ip) => match parse::network_v6(frame, link.l3_offset, ip) {
                Ok(read) => *network = read,
                Err(_) => return false,
            },
            Err(_) => return false,
        },
        _ => return false,
    }
    true
}

/// The service of a packet with ports.
#[inline(always)]
fn service(frame: &Frame<'_>, services: &ServiceTable, network: &Network) -> u32 {
    let Some(ports) = frame.get::<[u8; 4]>(network.l4()) else { return 0 };
    let endpoint = Endpoint::of_packet(*ports, network.protocol);
    match services.find(network.destination, endpoint) {
        Some(entry) if entry.slots_len > 0 => entry.slots_base + 1,
        Some(_) | None => 0,
    }
}

/// Whether a source is in the network that is wanted.
#[inline(always)]
fn covers(capture: &Capture, source: Address) -> bool {
    let (family, [high, low]) = if source.is_v4() {
        // In the first four bytes.
        (4, [u64::from(u32::from_be_bytes(source.octets_v4())) << 32, 0])
    } else {
        (6, halves(&source.octets()))
    };
    let [wanted_high, wanted_low] = halves(&capture.source);
    let (high, low) = (high ^ wanted_high, low ^ wanted_low);
    let is_covered = match capture.prefix_bits {
        0 => true,
        bits @ 1..=63 => high >> (64 - bits) == 0,
        64 => high == 0,
        bits @ 65..=127 => high == 0 && low >> (128 - bits) == 0,
        _ => high == 0 && low == 0,
    };
    capture.family == family && is_covered
}

/// The first and the last eight of sixteen bytes.
#[inline(always)]
const fn halves(bytes: &[u8; 16]) -> [u64; 2] {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => [u64::from_be_bytes(*first), u64::from_be_bytes(*last)],
        // Sixteen bytes have both.
        _ => [0; 2],
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    fn capture(source: [u8; 16], prefix_bits: u32, family: u32) -> Capture {
        Capture { source, prefix_bits, family, ..Capture::zeroed() }
    }

    #[test]
    fn a_network_covers_its_own_addresses_only() {
        let four = |a, b, c, d| Address::v4([a, b, c, d]);
        let six = |first: u8, last: u8| Address::v6(&[first, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        let mut source = [0; 16];
        source[..4].copy_from_slice(&[198, 51, 100, 128]);
        let rows = [
            (25, four(198, 51, 100, 129), true),
            (25, four(198, 51, 100, 127), false),
            (32, four(198, 51, 100, 128), true),
            (32, four(198, 51, 100, 129), false),
            (0, four(1, 2, 3, 4), true),
            (0, six(1, 1), false),
        ];
        for (bits, address, expected) in rows {
            assert_eq!(covers(&capture(source, bits, 4), address), expected, "{bits} {address:?}");
        }
        let mut source = [0; 16];
        (source[0], source[15]) = (0x20, 1);
        let rows = [
            (3, six(0x3f, 9), true),
            (3, six(0x40, 1), false),
            (64, six(0x20, 9), true),
            (64, six(0x21, 1), false),
            (127, six(0x20, 0), true),
            (127, six(0x20, 2), false),
            (128, six(0x20, 1), true),
            (128, six(0x20, 0), false),
            (0, four(32, 0, 0, 0), false),
        ];
        for (bits, address, expected) in rows {
            assert_eq!(covers(&capture(source, bits, 6), address), expected, "{bits} {address:?}");
        }
    }
}
