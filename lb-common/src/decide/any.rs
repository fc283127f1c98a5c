//! Any packet: tags, options, fragments, ICMP, replies, faults, and services that want more than a slot.

use super::{
    Addressee, Answer, Change, Course, Decision, End, Entries, Forward, Limit, Memory, Packet, Part, Reply,
    Tables, View, Work, addressee, icmp, mode_of, neighbor, quic, track,
};
use crate::abi::backend::{Backend, BackendId, Mode};
use crate::abi::connection::{LimitKey, ListKey, list};
use crate::abi::features::Features;
use crate::abi::flow::set_of;
use crate::abi::service::{Address, Endpoint, ServiceEntry, filter, service_flags};
use crate::frame::{EthHdr, Frame};
use crate::hash;
use crate::parse::{self, Fragment, MAX_L3_OFFSET, Network, Transport, ether_type, protocol};
use crate::reason::{DropReason, PassReason};
use crate::rewrite::answer;

/// Seconds that later fragments may come after their first one: as long as a receiver waits for them (net.ipv4.ipfrag_time).
pub const FRAGMENT_SECONDS: u16 = 30;

/// Decides about one frame of any kind.
///
/// The result is written where the caller wants it, and so by every step that is a function of its own: the kernel's stack has
/// 512 bytes for all of them together.
#[inline(always)]
pub fn any<T: Tables>(frame: &Frame<'_>, tables: &T, work: &mut Work) -> Course {
    let decision = &mut work.decision;
    let Some(view) = View::of(tables) else {
        return decide_as(decision, Decision::Pass(PassReason::NotConfigured));
    };
    let Some(eth) = frame.get::<EthHdr>(0) else {
        return decide_as(decision, Decision::Pass(PassReason::Truncated));
    };
    let to = addressee(&view.node.control, eth);
    if to == Addressee::Stranger {
        return decide_as(decision, Decision::Pass(PassReason::OtherMac));
    }
    let link = match parse::link(frame, eth) {
        Ok(link) => link,
        Err(reason) => return decide_as(decision, Decision::Pass(reason)),
    };
    let to_group = to == Addressee::Group;
    let l3_offset = tables.opaque(link.l3_offset) & MAX_L3_OFFSET;
    match link.ether_type {
        ether_type::IPV4 => any_v4(&view, frame, l3_offset, to_group, work),
        ether_type::IPV6 => any_v6(&view, frame, l3_offset, to_group, work),
        ether_type::ARP => match neighbor::arp(&view, frame, l3_offset) {
            Some(answer) => decide_as(decision, Decision::Answer(answer)),
            None => decide_as(decision, Decision::Pass(PassReason::NotIp)),
        },
        _ if to_group => decide_as(decision, Decision::Pass(PassReason::OtherMac)),
        _ => decide_as(decision, Decision::Pass(PassReason::NotIp)),
    }
}

#[inline(never)]
fn any_v4<T: Tables>(
    view: &View<'_, T>,
    frame: &Frame<'_>,
    l3_offset: usize,
    to_group: bool,
    work: &mut Work,
) -> Course {
    let Work { network, decision, .. } = work;
    let ip = match parse::ipv4(frame, l3_offset) {
        Ok(ip) => ip,
        Err(reason) => return decide_as(decision, Decision::Pass(reason)),
    };
    *network = parse::network_v4(l3_offset, ip);
    match whose(view, network.source, network.destination) {
        Whose::Vip if to_group => decide_as(decision, Decision::Drop(DropReason::GroupMac)),
        _ if to_group => decide_as(decision, Decision::Pass(PassReason::OtherMac)),
        Whose::Vip => Course::Vip,
        Whose::Reply => Course::Reply,
        Whose::Nobody => decide_as(decision, Decision::Pass(PassReason::NotVip)),
    }
}

#[inline(never)]
fn any_v6<T: Tables>(
    view: &View<'_, T>,
    frame: &Frame<'_>,
    l3_offset: usize,
    to_group: bool,
    work: &mut Work,
) -> Course {
    let Work { network, decision, .. } = work;
    let ip = match parse::ipv6(frame, l3_offset) {
        Ok(ip) => ip,
        Err(reason) => return decide_as(decision, Decision::Pass(reason)),
    };
    if let Some(answer) = neighbor::solicitation(view, frame, l3_offset) {
        return decide_as(decision, Decision::Answer(answer));
    }
    let whose = whose(view, Address::v6(&ip.src_addr), Address::v6(&ip.dst_addr));
    if to_group {
        let decided = match whose {
            Whose::Vip => Decision::Drop(DropReason::GroupMac),
            Whose::Reply | Whose::Nobody => Decision::Pass(PassReason::OtherMac),
        };
        return decide_as(decision, decided);
    }
    if matches!(whose, Whose::Nobody) {
        return decide_as(decision, Decision::Pass(PassReason::NotVip));
    }
    match (whose, parse::network_v6(frame, l3_offset, ip)) {
        (Whose::Vip, Err(reason)) => return decide_as(decision, Decision::Drop(reason)),
        (Whose::Reply | Whose::Nobody, Err(_)) | (Whose::Nobody, Ok(_)) => {
            return decide_as(decision, Decision::Pass(PassReason::NotVip));
        }
        (Whose::Vip | Whose::Reply, Ok(read)) => *network = read,
    }
    match whose {
        Whose::Vip => Course::Vip,
        Whose::Reply | Whose::Nobody => Course::Reply,
    }
}

/// Writes a decision.
#[inline(always)]
pub(super) const fn decide_as(place: &mut Decision, decision: Decision) -> Course {
    *place = decision;
    decision.course()
}

/// Whose business a packet is.
#[derive(Clone, Copy)]
enum Whose {
    /// It is to a VIP.
    Vip,
    /// It can be a backend's reply.
    Reply,
    /// Nobody's here.
    Nobody,
}

#[inline(always)]
fn whose<T: Tables>(view: &View<'_, T>, source: Address, destination: Address) -> Whose {
    let to = view.services.may_be(destination);
    if to & (filter::VIP | filter::POOL) != 0
        && let Some(entry) = view.services.find(destination, Endpoint::VIP)
    {
        return if entry.has(service_flags::POOL) { Whose::Reply } else { Whose::Vip };
    }
    if view.can(Features::NAT) && view.services.may_be(source) & filter::BACKEND != 0 {
        return Whose::Reply;
    }
    Whose::Nobody
}

/// Decides about a packet to a VIP, whose IP header [`any`] has read.
#[inline(always)]
pub fn vip<T: Tables>(frame: &Frame<'_>, tables: &T, work: &mut Work) -> Course {
    let Work { network, decision, .. } = work;
    let Some(view) = &View::of(tables) else {
        return decide_as(decision, Decision::Pass(PassReason::NotConfigured));
    };
    if network.source.is_martian_source() {
        return decide_as(decision, Decision::Drop(DropReason::Martian));
    }
    // That of the packet's own destination is one of them.
    if view.services.may_be(network.source) & filter::VIP != 0
        && matches!(whose(view, network.source, network.source), Whose::Vip)
    {
        return decide_as(decision, Decision::Drop(DropReason::SpoofedVip));
    }
    if let Fragment::Later { id } = network.fragment {
        return later_fragment(view, frame, network, id, decision);
    }
    let icmp = if network.source.is_v4() { protocol::ICMP } else { protocol::ICMPV6 };
    if network.protocol == icmp {
        return icmp::to_vip(view, frame, network, decision);
    }
    match parse::transport(frame, network) {
        Some(Ok(transport)) => to_service(view, frame, network, &transport, decision),
        Some(Err(reason)) => decide_as(decision, Decision::Drop(reason)),
        None => decide_as(decision, Decision::Pass(PassReason::NotBalanced)),
    }
}

#[inline(never)]
fn to_service<T: Tables>(
    view: &View<'_, T>,
    frame: &Frame<'_>,
    network: &Network,
    transport: &Transport,
    decision: &mut Decision,
) -> Course {
    let endpoint = Endpoint::of_packet(transport.ports, transport.protocol);
    let Some(service) = view.services.find(network.destination, endpoint) else {
        return decide_as(decision, Decision::Drop(DropReason::NoService));
    };
    if transport.is_impossible() {
        return decide_as(decision, Decision::Drop(DropReason::BadTcpFlags));
    }
    if network.ttl <= 1 {
        return decide_as(decision, Decision::Drop(DropReason::TtlExpired));
    }
    if is_denied(view, service, network.source) {
        return decide_as(decision, Decision::Drop(DropReason::SourceDenied));
    }
    let mut packet = transport_packet(view, network, transport);
    let Some(aim) = track::aim(view, service, &packet) else {
        return decide_as(decision, Decision::Drop(DropReason::NoBackend));
    };
    // In mode `fullnat` every connection is remembered, and what is not known begins.
    let is_fullnat = view.can(Features::FULLNAT) && service.has(service_flags::FULLNAT);
    packet.begins = aim.begins || is_fullnat && transport.protocol == protocol::UDP;
    let mut entries = entries(view, service, network, &packet);
    let (mut id, mut memory) = (aim.id, aim.memory);
    if view.can(Features::QUIC)
        && service.has(service_flags::QUIC)
        && let Some(named) = quic::server(view, service, frame, network.l4())
    {
        packet.begins = false;
        (id, memory) = (named, Memory::NOTHING);
        entries.by_connection_id = true;
        entries.limit = None;
    }
    let slots_base = service.slots_base;
    let forward = Forward { slots_base, id, mode: Mode::Dsr, packet, memory, entries };
    to_backend(view, forward, decision)
}

#[inline(always)]
fn transport_packet<T: Tables>(view: &View<'_, T>, network: &Network, transport: &Transport) -> Packet {
    let key = &view.node.control.flow_key;
    let flow_hash = hash::flow(key, network.source, network.destination, transport.ports, transport.protocol);
    let whole = network.fragment == Fragment::Whole;
    let part = Part::Transport { without_checksum: transport.without_checksum, whole };
    packet(network, part, flow_hash, transport.is_syn())
}

#[inline(always)]
fn entries<T: Tables>(
    view: &View<'_, T>,
    service: &ServiceEntry,
    network: &Network,
    packet: &Packet,
) -> Entries {
    let mut entries = Entries::NONE;
    if let Fragment::First { id } = network.fragment {
        entries.fragment = Some(fragment_hash(view, network, id));
    }
    if view.can(Features::LIMITS) && service.has(service_flags::LIMITED) && packet.begins {
        entries.limit = Some(limit(service, network.source));
    }
    entries
}

#[inline(always)]
fn backend<'t, T>(view: &View<'t, T>, id: BackendId) -> &'t Backend {
    &view.node.backends[id.index()]
}

/// The mode of a forward's backend, and whether the packet fits the way there.
#[inline(always)]
pub(super) fn to_backend<T: Tables>(view: &View<'_, T>, forward: Forward, decision: &mut Decision) -> Course {
    let backend = backend(view, forward.id);
    let Some(mode) = mode_of(backend, view.tables.features()) else {
        return decide_as(decision, Decision::Drop(DropReason::StaleBackend));
    };
    let packet = &forward.packet;
    let overhead = mode.overhead_bytes();
    if u32::from(packet.length_bytes) + u32::from(overhead) <= u32::from(backend.mtu_bytes) {
        return decide_as(decision, Decision::Forward(Forward { mode, ..forward }));
    }
    // Nobody answers an error with an error, nor a fragment but the first (RFC 1122, 3.2.2; RFC 4443, 2.4).
    let answered = matches!(packet.part, Part::Transport { .. });
    let (l3_offset, is_v4) = (packet.l3_offset, packet.is_v4);
    if answered && packet.length_bytes >= answer::quoted_bytes(is_v4) {
        let mtu_bytes = backend.mtu_bytes.saturating_sub(overhead);
        return decide_as(decision, Decision::Answer(Answer::TooBig { l3_offset, is_v4, mtu_bytes }));
    }
    decide_as(decision, Decision::Drop(DropReason::ExceedsMtu))
}

#[inline(always)]
pub(super) const fn packet(network: &Network, part: Part, flow_hash: u64, begins: bool) -> Packet {
    Packet {
        is_v4: network.source.is_v4(),
        l3_offset: network.l3_offset,
        l4_offset: network.l4_offset,
        length_bytes: network.length_bytes,
        traffic_class: network.traffic_class,
        protocol: network.protocol,
        part,
        flow_hash,
        begins,
    }
}

#[inline(always)]
fn is_denied<T: Tables>(view: &View<'_, T>, service: &ServiceEntry, source: Address) -> bool {
    if !view.can(Features::LISTS) || !service.has(service_flags::LISTED) {
        return false;
    }
    let key = ListKey { service: service.number.to_be_bytes(), source: wire(source) };
    match view.tables.listed(&key) {
        Some(found) => found == list::DENY,
        None => service.has(service_flags::DENY_UNLISTED),
    }
}

#[inline(always)]
fn limit(service: &ServiceEntry, source: Address) -> Limit {
    let [a, b, c, d, e, f, g, h, ..] = wire(source);
    let key = LimitKey { service: u64::from(service.number), source: [a, b, c, d, e, f, g, h] };
    Limit { key, interval_us: service.limit_interval_us, burst: service.limit_burst }
}

/// Wire bytes, an IPv4 address in the first four.
#[inline(always)]
const fn wire(address: Address) -> [u8; 16] {
    if address.is_v4() {
        let [a, b, c, d] = address.octets_v4();
        return [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    }
    address.octets()
}

#[inline(always)]
fn fragment_hash<T: Tables>(view: &View<'_, T>, network: &Network, id: u32) -> u64 {
    let key = &view.node.control.flow_key;
    hash::flow(key, network.source, network.destination, id.to_be_bytes(), network.protocol)
}

/// The backend that a fragmented packet's first fragment went to, or came from.
#[inline(always)]
fn fragment_backend<T: Tables>(view: &View<'_, T>, network: &Network, id: u32) -> Option<BackendId> {
    let hash = fragment_hash(view, network, id);
    let now = fragment_now(view.tables);
    let entries = view.tables.fragments(set_of(hash, view.node.control.fragment_set_mask))?;
    let entry = entries.find(hash);
    if entry.idle_seconds(now) <= FRAGMENT_SECONDS { entry.backend() } else { None }
}

/// Last 16 bits of the second that it is, for the age of fragments.
#[inline(always)]
pub fn fragment_now<T: Tables>(tables: &T) -> u16 {
    // As good as a second, and without a division.
    (tables.now_us() >> 20 & 0xffff) as u16
}

#[inline(never)]
fn later_fragment<T: Tables>(
    view: &View<'_, T>,
    frame: &Frame<'_>,
    network: &Network,
    id: u32,
    decision: &mut Decision,
) -> Course {
    if !parse::fits(frame, network, 0)
        || usize::from(network.length_bytes) + network.l3_offset < network.l4_offset
    {
        return decide_as(decision, Decision::Drop(DropReason::BadLength));
    }
    let Some(id) = fragment_backend(view, network, id) else {
        return decide_as(decision, Decision::Drop(DropReason::UnknownFragment));
    };
    if network.ttl <= 1 {
        return decide_as(decision, Decision::Drop(DropReason::TtlExpired));
    }
    // It has no ports; what varies with the flow then varies with the addresses.
    let key = &view.node.control.flow_key;
    let flow_hash = hash::flow(key, network.source, network.destination, [0; 4], network.protocol);
    let packet = packet(network, Part::LaterFragment, flow_hash, false);
    let (memory, entries) = (Memory::NOTHING, Entries::NONE);
    let forward = Forward { slots_base: 0, id, mode: Mode::Dsr, packet, memory, entries };
    to_backend(view, forward, decision)
}

/// Decides about what may be a backend's reply, whose IP header [`any`] has read: translated back if it is one, left alone if it is
/// not.
#[inline(always)]
pub fn reply<T: Tables>(frame: &Frame<'_>, tables: &T, work: &mut Work) -> Course {
    let Work { network, decision, .. } = work;
    let Some(view) = &View::of(tables) else {
        return decide_as(decision, Decision::Pass(PassReason::NotConfigured));
    };
    match network.fragment {
        Fragment::Later { id } => later_reply(view, frame, network, id, decision),
        Fragment::Whole | Fragment::First { .. } => match parse::transport(frame, network) {
            Some(Ok(transport)) => {
                let to_pool = view.services.may_be(network.destination) & filter::POOL != 0;
                if view.can(Features::FULLNAT) && to_pool {
                    connection_reply(network, &transport, decision)
                } else {
                    transport_reply(view, network, &transport, decision)
                }
            }
            Some(Err(_)) => decide_as(decision, Decision::Pass(PassReason::NotVip)),
            None => icmp::reply(view, frame, network, decision),
        },
    }
}

/// What may be a reply in mode `fullnat`, for `commit` to find its connection.
#[inline(always)]
fn connection_reply(network: &Network, transport: &Transport, decision: &mut Decision) -> Course {
    let whole = network.fragment == Fragment::Whole;
    let part = Part::Transport { without_checksum: transport.without_checksum, whole };
    let packet = packet(network, part, 0, false);
    let (change, destination) = (Change { source: None, destination: None }, End::NONE);
    decide_as(decision, Decision::Reply(Reply { id: None, packet, change, destination }))
}

/// A reply in mode `nat`: it comes from where a backend listens.
#[inline(never)]
fn transport_reply<T: Tables>(
    view: &View<'_, T>,
    network: &Network,
    transport: &Transport,
    decision: &mut Decision,
) -> Course {
    let endpoint = Endpoint::of_source(transport.ports, transport.protocol);
    let entry = view.services.find(network.source.as_source(), endpoint);
    let Some(id) = entry.and_then(|entry| BackendId::new(entry.backend)) else {
        return decide_as(decision, Decision::Pass(PassReason::NotVip));
    };
    let (whole, hash) = match network.fragment {
        Fragment::First { id } => (false, fragment_hash(view, network, id)),
        Fragment::Whole | Fragment::Later { .. } => (true, 0),
    };
    let part = Part::Transport { without_checksum: transport.without_checksum, whole };
    nat_reply(view, network, packet(network, part, hash, false), id, decision)
}

#[inline(never)]
fn later_reply<T: Tables>(
    view: &View<'_, T>,
    frame: &Frame<'_>,
    network: &Network,
    id: u32,
    decision: &mut Decision,
) -> Course {
    let id = if parse::fits(frame, network, 0) { fragment_backend(view, network, id) } else { None };
    let id = id.filter(|id| view.can(Features::NAT) && backend(view, *id).mode == Mode::Nat as u8);
    let Some(id) = id else { return decide_as(decision, Decision::Pass(PassReason::NotVip)) };
    nat_reply(view, network, packet(network, Part::LaterFragment, 0, false), id, decision)
}

/// A reply that gets the service's address.
#[inline(always)]
pub(super) fn nat_reply<T: Tables>(
    view: &View<'_, T>,
    network: &Network,
    packet: Packet,
    id: BackendId,
    decision: &mut Decision,
) -> Course {
    if !network.destination.is_forwardable() {
        return decide_as(decision, Decision::Pass(PassReason::NotVip));
    }
    let translation = backend(view, id).translation();
    let source = End { address: translation.vip, port: translation.vip_port };
    let change = Change { source: Some(source), destination: None };
    let destination = End { address: wire(network.destination), port: [0; 2] };
    let reply = Reply { id: Some(id), packet, change, destination };
    decide_as(decision, Decision::Reply(reply))
}
