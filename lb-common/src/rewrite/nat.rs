//! Other addresses and ports, checksums updated by the difference (RFC 1624), never computed anew.
//!
//! ```text
//!            source           destination
//! in         client           VIP              backend -> client
//! nat        client           backend          VIP     -> client
//! fullnat    our own          backend          VIP     -> client
//! ```
//!
//! An ICMP error quotes a packet of the other direction: there what becomes of the destination is done to the source, and
//! the other way round.

use network_types::ip::Ipv4Hdr;

use crate::abi::backend::Backend;
use crate::checksum::{self, difference, sum4, sum16};
use crate::decide::{Change, End, Packet, Part};
use crate::frame::Frame;
use crate::parse::{ETH_LEN, IPV4_LEN, IPV6_LEN, protocol};
use crate::rewrite::decrement;

/// Mode `nat`: the backend's address and port, one hop less to live.
#[inline(always)]
#[must_use]
pub fn to_backend<const PLAIN: bool>(
    frame: &mut Frame<'_>,
    packet: &Packet,
    backend: &Backend,
) -> Option<()> {
    let translation = backend.translation();
    let is_transport = matches!(packet.part, Part::Transport { .. });
    if is_transport && packet.l3() == ETH_LEN && packet.l4() == ETH_LEN + IPV4_LEN && packet.is_v4 {
        let [a, b, c, d, ..] = translation.address;
        let word = frame.get_mut::<[u8; 4]>(ETH_LEN + 8)?;
        let [ttl, protocol, high, low] = *word;
        // Both at once: one hop less, and the address.
        let sum =
            u32::from(!u16::from_be_bytes([high, low])) + u32::from(backend.bits) + u32::from(!0x0100_u16);
        let [high, low] = checksum::complement(sum).to_be_bytes();
        *word = u32::from_ne_bytes([ttl.wrapping_sub(1), protocol, high, low]).to_ne_bytes();
        *frame.get_mut::<[u8; 4]>(ETH_LEN + 16)? = [a, b, c, d];
        return plain_transport(frame, packet, ETH_LEN + IPV4_LEN, backend);
    }
    if is_transport && packet.l3() == ETH_LEN && packet.l4() == ETH_LEN + IPV6_LEN && !packet.is_v4 {
        let hop_limit = frame.get_mut::<u8>(ETH_LEN + 7)?;
        *hop_limit = hop_limit.wrapping_sub(1);
        *frame.get_mut::<[u8; 16]>(ETH_LEN + 24)? = translation.address;
        return plain_transport(frame, packet, ETH_LEN + IPV6_LEN, backend);
    }
    if PLAIN {
        return None;
    }
    let change = Change {
        source: None,
        destination: Some(End { address: translation.address, port: translation.port }),
    };
    translate(frame, packet, &change)?;
    decrement(frame, packet.l3(), packet.is_v4)
}

/// Port and checksum of a transport header, whose differences are known.
#[inline(always)]
fn plain_transport(frame: &mut Frame<'_>, packet: &Packet, at: usize, backend: &Backend) -> Option<()> {
    *frame.get_mut::<[u8; 2]>(at + 2)? = backend.translation().port;
    update_transport(frame, packet.protocol, at, backend.sum)
}

/// The checksum of a TCP or UDP header after what it covers has grown by `difference`.
#[inline(always)]
fn update_transport(frame: &mut Frame<'_>, protocol: u8, at: usize, difference: u16) -> Option<()> {
    if protocol == protocol::TCP {
        let field = frame.get_mut::<[u8; 2]>(at + 16)?;
        *field = checksum::update(*field, difference);
        return Some(());
    }
    let field = frame.get_mut::<[u8; 2]>(at + 6)?;
    // Zero says that there is none (RFC 768), so a sum of zero is written as all ones.
    if *field != [0, 0] {
        *field = match checksum::update(*field, difference) {
            [0, 0] => [0xff, 0xff],
            updated => updated,
        };
    }
    Some(())
}

/// Addresses and ports of any packet.
#[inline(never)]
#[must_use]
pub fn translate(frame: &mut Frame<'_>, packet: &Packet, change: &Change) -> Option<()> {
    let l3 = packet.l3();
    let addresses = addresses(frame, l3, packet.is_v4, &change.source, &change.destination)?;
    if packet.is_v4 {
        let field = frame.get_mut::<[u8; 2]>(l3 + 10)?;
        *field = checksum::update(*field, addresses);
    }
    match packet.part {
        Part::LaterFragment => Some(()),
        Part::Transport { .. } => {
            let ports = ports(frame, packet.l4(), &change.source, &change.destination)?;
            let sum = checksum::fold(u32::from(addresses) + u32::from(ports));
            update_transport(frame, packet.protocol, packet.l4(), sum)
        }
        Part::Quoted => {
            let quoted = quoted(frame, packet, change)?;
            // ICMPv6 sums a pseudo header with the addresses, ICMP does not (RFC 4443, 2.3).
            let outer = if packet.is_v4 { 0 } else { u32::from(addresses) };
            let field = frame.get_mut::<[u8; 2]>(packet.l4() + 2)?;
            *field = checksum::update(*field, checksum::fold(outer + u32::from(quoted)));
            Some(())
        }
    }
}

/// Writes addresses; what their sum changes by.
#[inline(always)]
fn addresses(
    frame: &mut Frame<'_>,
    l3: usize,
    is_v4: bool,
    source: &Option<End>,
    destination: &Option<End>,
) -> Option<u16> {
    let mut changed = 0;
    if let Some(End { address, .. }) = source {
        changed += u32::from(self::address(frame, l3 + if is_v4 { 12 } else { 8 }, is_v4, address)?);
    }
    if let Some(End { address, .. }) = destination {
        changed += u32::from(self::address(frame, l3 + if is_v4 { 16 } else { 24 }, is_v4, address)?);
    }
    Some(checksum::fold(changed))
}

#[inline(always)]
fn address(frame: &mut Frame<'_>, at: usize, is_v4: bool, new: &[u8; 16]) -> Option<u16> {
    if is_v4 {
        let [a, b, c, d, ..] = *new;
        let field = frame.get_mut::<[u8; 4]>(at)?;
        let changed = difference(sum4(*field), sum4([a, b, c, d]));
        *field = [a, b, c, d];
        return Some(changed);
    }
    let field = frame.get_mut::<[u8; 16]>(at)?;
    let changed = difference(sum16(field), sum16(new));
    *field = *new;
    Some(changed)
}

/// Writes ports; what their sum changes by.
#[inline(always)]
fn ports(frame: &mut Frame<'_>, l4: usize, source: &Option<End>, destination: &Option<End>) -> Option<u16> {
    let field = frame.get_mut::<[u8; 4]>(l4)?;
    let [mut a, mut b, mut c, mut d] = *field;
    if let Some(End { port, .. }) = source {
        [a, b] = *port;
    }
    if let Some(End { port, .. }) = destination {
        [c, d] = *port;
    }
    let changed = difference(sum4(*field), sum4([a, b, c, d]));
    *field = [a, b, c, d];
    Some(changed)
}

/// The packet inside an ICMP error: what the sum of the error changes by.
#[inline(always)]
fn quoted(frame: &mut Frame<'_>, packet: &Packet, change: &Change) -> Option<u16> {
    let l3 = packet.l4() + 8;
    let (protocol, l4) = if packet.is_v4 {
        let ip = frame.get::<Ipv4Hdr>(l3)?;
        (ip.proto, l3 + usize::from(ip.vihl & 0x0f) * 4)
    } else {
        (*frame.get::<u8>(l3 + 6)?, l3 + IPV6_LEN)
    };
    let (source, destination) = (&change.destination, &change.source);
    let addresses = addresses(frame, l3, packet.is_v4, source, destination)?;
    let mut changed = u32::from(addresses);
    if packet.is_v4 {
        let field = frame.get_mut::<[u8; 2]>(l3 + 10)?;
        let updated = checksum::update(*field, addresses);
        changed += u32::from(word_difference(*field, updated));
        *field = updated;
    }
    let ports = ports(frame, l4, source, destination)?;
    changed += u32::from(ports);
    // A checksum that was quoted as well; what is behind the end of the packet is not ours.
    let at = l4 + if protocol == protocol::TCP { 16 } else { 6 };
    if at + 2 <= packet.l3() + usize::from(packet.length_bytes)
        && let Some(field) = frame.get_mut::<[u8; 2]>(at)
        && (protocol == protocol::TCP || *field != [0, 0])
    {
        let updated = checksum::update(*field, checksum::fold(u32::from(addresses) + u32::from(ports)));
        changed += u32::from(word_difference(*field, updated));
        *field = updated;
    }
    Some(checksum::fold(changed))
}

#[inline(always)]
const fn word_difference(old: [u8; 2], new: [u8; 2]) -> u16 {
    difference(u16::from_be_bytes(old) as u32, u16::from_be_bytes(new) as u32)
}
