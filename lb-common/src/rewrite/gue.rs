//! Generic UDP Encapsulation (draft-ietf-intarea-gue, variant 1): an outer IP and UDP header, and the packet right behind them.
//!
//! ```text
//! before              | eth [tags] |                              | ip | tcp or udp ...
//! after   | eth [tags] | outer IP, 20 or 40 bytes | udp, 8 bytes   | ip | tcp or udp ...
//! ```
//!
//! Variant 1 has no header of its own: the first bits of the packet, its IP version, tell it. Linux takes it with `ip fou add
//! port 6080 gue`. The source port varies with the flow, so that receivers and networks spread flows. Over IPv4 the UDP
//! checksum is zero (RFC 768); over IPv6 it is right, and follows from the packet's own without a look at its data.

use crate::abi::backend::Backend;
use crate::checksum::{complement, fold, sum_in, sum4, sum16};
use crate::decide::{Forward, Part};
use crate::frame::{Frame, Head};
use crate::parse::{ETH_LEN, IPV4_LEN, IPV6_LEN, ether_type};
use crate::rewrite::{decrement, ipip, l2};

/// The port that IANA has given GUE.
pub const DEFAULT_PORT: u16 = 6080;
/// UDP header, in bytes.
const UDP_LEN: u16 = 8;

/// Behind IPv4 and UDP; the frame has grown by 28 bytes.
#[inline(always)]
#[must_use]
pub fn v4(frame: &mut Frame<'_>, forward: &Forward, backend: &Backend) -> Option<()> {
    let l3_offset = forward.packet.l3();
    decrement(frame, l3_offset + IPV4_LEN + usize::from(UDP_LEN), forward.packet.is_v4)?;
    let words = if l3_offset == ETH_LEN {
        let head = frame.get_mut::<Head<7>>(0)?;
        head.macs = l2::macs(backend);
        head.ether_type = ether_type::IPV4.to_ne_bytes();
        &mut head.ip
    } else {
        l2::move_tags_up(frame, IPV4_LEN + usize::from(UDP_LEN), l3_offset, backend, ether_type::IPV4)?;
        frame.get_mut::<[[u8; 4]; 7]>(l3_offset)?
    };
    let [a, b, c, d, e, udp_ports, udp_rest] = words;
    ipip::write_v4([a, b, c, d, e], forward, backend, UDP_LEN);
    let template = &backend.template;
    *udp_ports = ports(forward, [template[22], template[23]]);
    let [high, low] = forward.packet.length_bytes.wrapping_add(UDP_LEN).to_be_bytes();
    *udp_rest = [high, low, 0, 0];
    Some(())
}

/// Behind IPv6 and UDP; the frame has grown by 48 bytes.
#[inline(always)]
#[must_use]
pub fn v6<const PLAIN: bool>(frame: &mut Frame<'_>, forward: &Forward, backend: &Backend) -> Option<()> {
    let l3_offset = forward.packet.l3();
    let inner = l3_offset + IPV6_LEN + usize::from(UDP_LEN);
    decrement(frame, inner, forward.packet.is_v4)?;
    let template = &backend.template;
    let ports = ports(forward, [template[4], template[5]]);
    let length = forward.packet.length_bytes.wrapping_add(UDP_LEN);
    let checksum = match payload_sum::<PLAIN>(frame, forward, inner) {
        Some(payload) => {
            let [a, b, _, _] = ports;
            let sum = u32::from(backend.sum)
                + u32::from(ipip::source_bits(forward, backend))
                + u32::from(u16::from_be_bytes([a, b]))
                // In the pseudo header, and in the UDP header.
                + 2 * u32::from(length)
                + u32::from(payload);
            // Zero would say that there is none.
            match complement(sum) {
                0 => 0xffff,
                checksum => checksum,
            }
        }
        // It cannot be told from here: none, which RFC 6935 lets tunnels do.
        None => 0,
    };
    let words = if l3_offset == ETH_LEN {
        let head = frame.get_mut::<Head<12>>(0)?;
        head.macs = l2::macs(backend);
        head.ether_type = ether_type::IPV6.to_ne_bytes();
        &mut head.ip
    } else {
        l2::move_tags_up(frame, IPV6_LEN + usize::from(UDP_LEN), l3_offset, backend, ether_type::IPV6)?;
        frame.get_mut::<[[u8; 4]; 12]>(l3_offset)?
    };
    let [a, b, c, d, e, f, g, h, i, j, udp_ports, udp_rest] = words;
    ipip::write_v6([a, b, c, d, e, f, g, h, i, j], forward, backend, UDP_LEN);
    *udp_ports = ports;
    let ([length_high, length_low], [high, low]) = (length.to_be_bytes(), checksum.to_be_bytes());
    *udp_rest = [length_high, length_low, high, low];
    Some(())
}

/// A source port of the dynamic range that follows the flow hash, and the destination port.
#[inline(always)]
const fn ports(forward: &Forward, destination: [u8; 2]) -> [u8; 4] {
    let [a, b] = (0xc000 | (forward.packet.flow_hash >> 32 & 0x3fff) as u16).to_be_bytes();
    let [c, d] = destination;
    [a, b, c, d]
}

/// One's complement sum of the packet at `inner`, as it leaves.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "masked to 6 bits")]
fn payload_sum<const PLAIN: bool>(frame: &Frame<'_>, forward: &Forward, inner: usize) -> Option<u16> {
    let packet = &forward.packet;
    let headers_len = packet.l4() - packet.l3();
    let has_sum = matches!(packet.part, Part::Transport { without_checksum: false, whole: true });
    // A transport header, its pseudo header and its data sum to zero, and so does an IPv4 header: what is left is less the pseudo
    // header.
    if has_sum && packet.is_v4 {
        let transport_len = u32::from(packet.length_bytes) - (headers_len & 0x3f) as u32;
        let source = *frame.get::<[u8; 4]>(inner + 12)?;
        let destination = *frame.get::<[u8; 4]>(inner + 16)?;
        let pseudo = sum4(source) + sum4(destination) + u32::from(packet.protocol) + transport_len;
        return Some(!fold(pseudo));
    }
    if has_sum && headers_len == IPV6_LEN {
        let words = *frame.get::<[u8; 8]>(inner)?;
        let [a, b, c, d, e, f, g, h] = words;
        // The addresses stand in both.
        let pseudo = u32::from(packet.protocol) + u32::from(packet.length_bytes) - 40;
        return Some(fold(sum4([a, b, c, d]) + sum4([e, f, g, h]) + u32::from(!fold(pseudo))));
    }
    if PLAIN { None } else { sum_in(frame, inner, usize::from(packet.length_bytes)) }
}

/// What [`Backend::sum`](crate::abi::backend::Backend::sum) is for mode `gue` over IPv6: addresses, protocol and destination
/// port.
#[must_use]
pub fn template_sum(source: &[u8; 16], destination: &[u8; 16], port: u16) -> u16 {
    fold(sum16(source) + sum16(destination) + u32::from(crate::parse::protocol::UDP) + u32::from(port))
}
