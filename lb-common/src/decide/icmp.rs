//! ICMP to a VIP: echo is answered, an error goes to the backend that owns the flow inside it (RFC 792, RFC 4443).
//!
//! ```text
//!  outer IP header        | ICMP: type, code, checksum, 4 bytes | quoted IP header     | at least 8 bytes of transport
//!  somebody -> VIP        |                                     | VIP -> client        | ports
//! ```
//!
//! The quoted packet is a backend's answer, so its flow is found with source and destination exchanged. An error makes
//! nothing be remembered, and moves nothing.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::any::{decide_as, nat_reply, packet, to_backend};
use super::{Answer, Course, Decision, Entries, Forward, Memory, Part, Tables, View, track};
use crate::abi::backend::{BackendId, Mode};
use crate::abi::features::Features;
use crate::abi::service::{Address, Endpoint};
use crate::frame::Frame;
use crate::hash;
use crate::parse::{self, Fragment, MIN_TRANSPORT_LEN, Network, protocol};
use crate::reason::{DropReason, PassReason};

/// ICMP header in front of what it carries, in bytes.
const ICMP_LEN: usize = 8;

/// What a message is, by the type that its family gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Echo,
    Error,
    Neither,
}

#[inline(always)]
const fn kind(is_v4: bool, icmp_type: u8) -> Kind {
    match (is_v4, icmp_type) {
        (true, 8) | (false, 128) => Kind::Echo,
        // Unreachable, time exceeded, parameter problem; of IPv6 packet too big as well.
        (true, 3 | 11 | 12) | (false, 1..=4) => Kind::Error,
        (true | false, _) => Kind::Neither,
    }
}

/// Decides about a message to a VIP that is not a later fragment.
#[inline(never)]
pub(super) fn to_vip<T: Tables>(
    view: &View<'_, T>,
    frame: &Frame<'_>,
    network: &Network,
    decision: &mut Decision,
) -> Course {
    if !frame.holds(network.l4_offset + ICMP_LEN) {
        return decide_as(decision, Decision::Drop(DropReason::TruncatedTransport));
    }
    if !parse::fits(frame, network, ICMP_LEN) {
        return decide_as(decision, Decision::Drop(DropReason::BadLength));
    }
    let Some([icmp_type, _]) = frame.get::<[u8; 2]>(network.l4()) else {
        return decide_as(decision, Decision::Drop(DropReason::TruncatedTransport));
    };
    let is_v4 = network.source.is_v4();
    let kind = kind(is_v4, *icmp_type);
    if network.fragment != Fragment::Whole {
        return decide_as(decision, Decision::Pass(PassReason::NotBalanced));
    }
    match kind {
        Kind::Echo => {
            let (l3_offset, l4_offset) = (network.l3_offset, network.l4_offset);
            decide_as(decision, Decision::Answer(Answer::Echo { l3_offset, l4_offset, is_v4 }))
        }
        Kind::Error => match quoted(frame, network) {
            Ok(quoted) => error(view, network, &quoted, decision),
            Err(Unusable::Short) => decide_as(decision, Decision::Drop(DropReason::ShortIcmpError)),
            Err(Unusable::NotBalanced) => decide_as(decision, Decision::Pass(PassReason::NotBalanced)),
        },
        Kind::Neither => decide_as(decision, Decision::Pass(PassReason::NotBalanced)),
    }
}

/// The packet inside an error.
#[derive(Clone, Copy)]
struct Quoted {
    source: Address,
    destination: Address,
    ports: [u8; 4],
    protocol: u8,
}

/// Why the packet inside an error tells no flow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unusable {
    Short,
    NotBalanced,
}

#[inline(always)]
fn quoted(frame: &Frame<'_>, network: &Network) -> Result<Quoted, Unusable> {
    const SHORT: Unusable = Unusable::Short;
    let at = network.l4() + ICMP_LEN;
    let (source, destination, protocol, header_len) = if network.source.is_v4() {
        let ip = frame.get::<Ipv4Hdr>(at).ok_or(SHORT)?;
        // A later fragment, or something else, tells no ports.
        if !matches!(ip.vihl, 0x45..=0x4f) || u16::from_be_bytes(ip.frags) & 0x1fff != 0 {
            return Err(SHORT);
        }
        (Address::v4(ip.src_addr), Address::v4(ip.dst_addr), ip.proto, usize::from(ip.vihl & 0x0f) * 4)
    } else {
        let ip = frame.get::<Ipv6Hdr>(at).ok_or(SHORT)?;
        if ip.vcf[0] >> 4 != 6 {
            return Err(SHORT);
        }
        (Address::v6(&ip.src_addr), Address::v6(&ip.dst_addr), ip.next_hdr, parse::IPV6_LEN)
    };
    if !matches!(protocol, protocol::TCP | protocol::UDP) {
        return Err(Unusable::NotBalanced);
    }
    // Eight bytes of the transport header are what every error quotes (RFC 792).
    if network.transport_len() < ICMP_LEN + header_len + MIN_TRANSPORT_LEN {
        return Err(SHORT);
    }
    let ports = *frame.get::<[u8; 4]>(at + header_len).ok_or(SHORT)?;
    Ok(Quoted { source, destination, ports, protocol })
}

#[inline(always)]
fn error<T: Tables>(
    view: &View<'_, T>,
    network: &Network,
    quoted: &Quoted,
    decision: &mut Decision,
) -> Course {
    if quoted.source != network.destination {
        return decide_as(decision, Decision::Drop(DropReason::ForeignIcmpError));
    }
    let endpoint = Endpoint::of_source(quoted.ports, quoted.protocol);
    let Some(service) = view.services.find(network.destination, endpoint) else {
        return decide_as(decision, Decision::Pass(PassReason::NotBalanced));
    };
    if network.ttl <= 1 {
        return decide_as(decision, Decision::Drop(DropReason::TtlExpired));
    }
    let [a, b, c, d] = quoted.ports;
    let ports = [c, d, a, b];
    let key = &view.node.control.flow_key;
    let flow_hash = hash::flow(key, quoted.destination, network.destination, ports, quoted.protocol);
    let mut packet = packet(network, Part::Quoted, flow_hash, false);
    let id = track::aim(view, service, &packet).map(|aim| aim.id);
    let Some(id) = id else { return decide_as(decision, Decision::Drop(DropReason::NoBackend)) };
    packet.begins = false;
    let (slots_base, memory, entries) = (service.slots_base, Memory::NOTHING, Entries::NONE);
    let forward = Forward { slots_base, id, mode: Mode::Dsr, packet, memory, entries };
    to_backend(view, forward, decision)
}

/// An error that a nat backend sends about a client's packet. One of a router between the two is not translated: its own address
/// means nothing to the client.
#[inline(never)]
pub(super) fn reply<T: Tables>(
    view: &View<'_, T>,
    frame: &Frame<'_>,
    network: &Network,
    decision: &mut Decision,
) -> Course {
    match replier(view, frame, network) {
        Some(id) => nat_reply(view, network, packet(network, Part::Quoted, 0, false), id, decision),
        None => decide_as(decision, Decision::Pass(PassReason::NotVip)),
    }
}

/// Which backend has sent an error about a packet to itself.
#[inline(always)]
fn replier<T: Tables>(view: &View<'_, T>, frame: &Frame<'_>, network: &Network) -> Option<BackendId> {
    let is_v4 = network.source.is_v4();
    let icmp = if is_v4 { protocol::ICMP } else { protocol::ICMPV6 };
    let is_whole = network.fragment == Fragment::Whole && parse::fits(frame, network, ICMP_LEN);
    if network.protocol != icmp || !view.can(Features::NAT) || !is_whole {
        return None;
    }
    let [icmp_type, _] = *frame.get::<[u8; 2]>(network.l4())?;
    let quoted = quoted(frame, network).ok()?;
    let about_itself = quoted.source == network.destination && quoted.destination == network.source;
    if kind(is_v4, icmp_type) != Kind::Error || !about_itself {
        return None;
    }
    let endpoint = Endpoint::of_packet(quoted.ports, quoted.protocol);
    BackendId::new(view.services.find(quoted.destination.as_source(), endpoint)?.backend)
}
