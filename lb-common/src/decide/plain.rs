//! The common packet: untagged, without options, extension headers or fragments, nothing wrong with it, for a service that
//! wants nothing out of the ordinary; or for nobody here.
//!
//! Every offset is a constant here, which saves additions, comparisons and spilled registers. Whatever is not common is
//! left to [`any`](super::any), which decides about any packet, and about this one as it is decided here.

use super::{Addressee, Entries, Forward, Packet, Part, Tables, Task, View, addressee, track};
use crate::abi::backend::{Backend, Mode};
use crate::abi::features::Features;
use crate::abi::service::{Address, Endpoint, ServiceEntry, filter, service_flags};
use crate::frame::{EthHdr, Frame};
use crate::hash::{flow_v4, flow_v6};
use crate::parse::{self, ETH_LEN, IPV4_LEN, IPV6_LEN, Transport, ether_type};
use crate::reason::PassReason;

/// What is done about a common packet, where it is known. What is done is not handed back to be done: a result that holds
/// everything would be put together on every way out, and a verifier does not let what is not there be copied.
pub trait Done<'t> {
    /// What is told of it.
    type Result;

    /// To a backend, whose entry this is.
    fn forward(self, forward: Forward, backend: &'t Backend) -> Self::Result;

    /// On to the kernel's stack.
    fn pass(self, reason: PassReason) -> Self::Result;
}

/// Decides about a common frame; `None` for one that takes a closer look.
#[inline(always)]
pub fn plain<'t, T: Tables, D: Done<'t>>(frame: &Frame<'_>, tables: &'t T, done: D) -> Option<D::Result> {
    let Some(view) = View::of(tables) else { return Some(done.pass(PassReason::NotConfigured)) };
    let Some(eth) = frame.get::<EthHdr>(0) else { return Some(done.pass(PassReason::Truncated)) };
    match addressee(&view.node.control, eth) {
        Addressee::Node => {}
        Addressee::Group => return None,
        Addressee::Stranger => return Some(done.pass(PassReason::OtherMac)),
    }
    match parse::ether_type(eth.ether_type) {
        ether_type::IPV4 => plain_v4(frame, &view, done),
        ether_type::IPV6 => plain_v6(frame, &view, done),
        _ => None,
    }
}

#[inline(always)]
fn plain_v4<'t, T: Tables, D: Done<'t>>(frame: &Frame<'_>, view: &View<'t, T>, done: D) -> Option<D::Result> {
    let ip = parse::plain_v4(frame)?;
    let (source, destination) = (Address::v4(ip.src_addr), Address::v4(ip.dst_addr));
    if is_strange(view, source, destination)? {
        return Some(done.pass(PassReason::NotVip));
    }
    let (length_bytes, transport) = parse::plain_transport_v4(frame, ip)?;
    let service = service_of(view, destination, &transport)?;
    if ip.ttl <= 1 || source.is_martian_source() {
        return None;
    }
    let key = &view.node.control.flow_key;
    let packet = Packet {
        is_v4: true,
        l3_offset: ETH_LEN,
        l4_offset: ETH_LEN + IPV4_LEN,
        length_bytes,
        traffic_class: ip.tos,
        protocol: transport.protocol,
        part: Part::Transport { without_checksum: transport.without_checksum, whole: true },
        flow_hash: flow_v4(key, ip.src_addr, ip.dst_addr, transport.ports, transport.protocol),
        begins: transport.is_syn(),
    };
    forward(view, service, packet, done)
}

#[inline(always)]
fn plain_v6<'t, T: Tables, D: Done<'t>>(frame: &Frame<'_>, view: &View<'t, T>, done: D) -> Option<D::Result> {
    let ip = parse::plain_v6(frame)?;
    let (source, destination) = (Address::v6(&ip.src_addr), Address::v6(&ip.dst_addr));
    if is_strange(view, source, destination)? {
        return Some(done.pass(PassReason::NotVip));
    }
    let (length_bytes, transport) = parse::plain_transport_v6(frame, ip)?;
    let service = service_of(view, destination, &transport)?;
    if ip.hop_limit <= 1 || source.is_martian_source() {
        return None;
    }
    let key = &view.node.control.flow_key;
    let packet = Packet {
        is_v4: false,
        l3_offset: ETH_LEN,
        l4_offset: ETH_LEN + IPV6_LEN,
        length_bytes,
        traffic_class: parse::traffic_class_v6(ip),
        protocol: transport.protocol,
        part: Part::Transport { without_checksum: transport.without_checksum, whole: true },
        flow_hash: flow_v6(key, &ip.src_addr, &ip.dst_addr, transport.ports, transport.protocol),
        begins: transport.is_syn(),
    };
    forward(view, service, packet, done)
}

/// Whether neither address is ours by the filter; `None` where that takes a closer look: a reply, or a source that is a VIP.
#[inline(always)]
fn is_strange<T: Tables>(view: &View<'_, T>, source: Address, destination: Address) -> Option<bool> {
    let to = view.services.may_be(destination);
    let replies = view.tables.features().has_any(Features::REPLIES);
    if to & filter::VIP != 0 {
        return if view.services.may_be(source) & filter::VIP != 0 { None } else { Some(false) };
    }
    if replies && (to & filter::POOL != 0 || view.services.may_be(source) & filter::BACKEND != 0) {
        return None;
    }
    Some(true)
}

/// The service of a packet that nothing is wrong with.
#[inline(always)]
fn service_of<'t, T: Tables>(
    view: &View<'t, T>,
    destination: Address,
    transport: &Transport,
) -> Option<&'t ServiceEntry> {
    let endpoint = Endpoint::of_packet(transport.ports, transport.protocol);
    let service = view.services.find(destination, endpoint)?;
    (!service.has(service_flags::ANY) && !transport.is_impossible()).then_some(service)
}

#[inline(always)]
fn forward<'t, T: Tables, D: Done<'t>>(
    view: &View<'t, T>,
    service: &ServiceEntry,
    mut packet: Packet,
    done: D,
) -> Option<D::Result> {
    let aim = track::aim(view, service, &packet)?;
    // Finding a place for a flow is a long way to walk for the verifier, and rare.
    if aim.memory.task == Task::Remember {
        return None;
    }
    let backend = &view.node.backends[aim.id.index()];
    packet.begins = aim.begins;
    let slots_base = service.slots_base;
    // One look at the mode, and what follows is a piece of its own for each.
    let to =
        |mode| Forward { slots_base, id: aim.id, mode, packet, memory: aim.memory, entries: Entries::NONE };
    match Mode::from_u8(backend.mode)? {
        Mode::Dsr => fitting(view, to(Mode::Dsr), backend, done),
        Mode::IpipV4 => fitting(view, to(Mode::IpipV4), backend, done),
        Mode::IpipV6 => fitting(view, to(Mode::IpipV6), backend, done),
        Mode::GueV4 => fitting(view, to(Mode::GueV4), backend, done),
        // Without a sum of its own it has to be added up byte by byte.
        Mode::GueV6 if matches!(packet.part, Part::Transport { without_checksum: true, .. }) => None,
        Mode::GueV6 => fitting(view, to(Mode::GueV6), backend, done),
        Mode::Nat => fitting(view, to(Mode::Nat), backend, done),
        Mode::Fullnat => None,
    }
}

/// Hands on what the loaded program can do, and what fits.
#[inline(always)]
fn fitting<'t, T: Tables, D: Done<'t>>(
    view: &View<'t, T>,
    forward: Forward,
    backend: &'t Backend,
    done: D,
) -> Option<D::Result> {
    let length_bytes = u32::from(forward.packet.length_bytes) + u32::from(forward.mode.overhead_bytes());
    let fits = length_bytes <= u32::from(backend.mtu_bytes);
    (view.can(Features::of_mode(forward.mode)) && fits).then(|| done.forward(forward, backend))
}
