//! What happens to a packet: the one function that the kernel, the tests and the fuzzer all run.
//!
//! [`decide`] reads the frame and the tables and changes neither. What it decides is carried out by
//! [`rewrite`](crate::rewrite) and by the shell around it, which grows the head, counts and sends.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::abi::backend::{Backend, BackendId, Mode};
use crate::abi::control::{Control, mac_word};
use crate::abi::node::Node;
use crate::abi::service::{Endpoint, ServiceEntry, ServiceTable, Vip};
use crate::abi::slot::Slot;
use crate::frame::{EthHdr, Frame};
use crate::hash::{flow_v4, flow_v6, slot_of};
use crate::parse::{self, ETH_LEN, NoTransport, Transport, ether_type};
use crate::reason::{DropReason, PassReason};

/// The tables, as BPF maps or as the host's memory.
///
/// Lookups cost what an array access costs and return `None` out of range.
pub trait Tables {
    /// Everything of fixed size.
    fn node(&self) -> Option<&Node>;
    /// A slot by its index in the whole array.
    fn slot(&self, index: u32) -> Option<Slot>;
}

/// The fate of a packet.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'t> {
    /// To a backend.
    Forward(Forward<'t>),
    /// On to the kernel's stack.
    Pass(PassReason),
    /// Nowhere.
    Drop(DropReason),
}

/// Everything that rewriting and sending needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward<'t> {
    /// Whose counter the packet goes to.
    pub id: BackendId,
    /// What to write.
    pub backend: &'t Backend,
    /// How to write it: [`Backend::mode`], read.
    pub mode: Mode,
    /// Where the IP header begins, in bytes: 14, 18 or 22.
    pub l3_offset: usize,
    /// Length of the IP packet, in bytes.
    pub length_bytes: u16,
    /// Type of service, or traffic class, of the packet.
    pub traffic_class: u8,
    /// Hash of the flow.
    pub flow_hash: u64,
}

/// Decides about one frame.
#[inline(always)]
pub fn decide<'t, T: Tables>(frame: &Frame<'_>, tables: &'t T) -> Decision<'t> {
    let Some(node) = tables.node() else { return Decision::Pass(PassReason::NotConfigured) };
    let Some(eth) = frame.get::<EthHdr>(0) else { return Decision::Pass(PassReason::Truncated) };
    if !is_for_this_node(&node.control, eth) {
        return Decision::Pass(PassReason::OtherMac);
    }
    // The mask is what the verifier needs to see that the half exists.
    let view = View { tables, node, services: &node.services[(node.control.active_half & 1) as usize] };
    match decide_plain(frame, &view, eth) {
        Some(decision) => decision,
        None => decide_any(frame, &view, eth),
    }
}

/// The common packet: untagged, without options, extension headers or faults, and for a service, or not for a VIP. Every
/// offset is a constant here, which saves additions, comparisons and spilled registers. `None` leaves the packet to [`decide_any`], which would
/// decide the same about this one.
#[inline(always)]
fn decide_plain<'t, T: Tables>(frame: &Frame<'_>, view: &View<'t, T>, eth: &EthHdr) -> Option<Decision<'t>> {
    match parse::ether_type(eth.ether_type) {
        ether_type::IPV4 => {
            let ip = parse::plain_v4(frame)?;
            let vip = Vip::v4(ip.dst_addr);
            if !view.services.may_be_vip(vip) {
                return Some(Decision::Pass(PassReason::NotVip));
            }
            let transport = parse::plain_transport_v4(frame, ip)?;
            let service = view.services.find(vip, endpoint(&transport))?;
            Some(forward_v4(view, service, ETH_LEN, ip, &transport))
        }
        ether_type::IPV6 => {
            let ip = parse::plain_v6(frame)?;
            let vip = Vip::v6(&ip.dst_addr);
            if !view.services.may_be_vip(vip) {
                return Some(Decision::Pass(PassReason::NotVip));
            }
            let transport = parse::plain_transport_v6(frame, ip)?;
            let service = view.services.find(vip, endpoint(&transport))?;
            Some(forward_v6(view, service, ETH_LEN, ip, &transport))
        }
        _ => None,
    }
}

/// Any packet.
#[inline(always)]
fn decide_any<'t, T: Tables>(frame: &Frame<'_>, view: &View<'t, T>, eth: &EthHdr) -> Decision<'t> {
    let link = match parse::link(frame, eth) {
        Ok(link) => link,
        Err(reason) => return Decision::Pass(reason),
    };
    match link.ether_type {
        ether_type::IPV4 => decide_v4(frame, view, link.l3_offset),
        ether_type::IPV6 => decide_v6(frame, view, link.l3_offset),
        _ => Decision::Pass(PassReason::NotIp),
    }
}

/// The tables as one packet sees them: one state of the services from its first lookup to its last.
struct View<'t, T> {
    tables: &'t T,
    node: &'t Node,
    services: &'t ServiceTable,
}

#[inline(always)]
#[expect(clippy::manual_contains, reason = "`contains` compares in chunks made for SIMD, which BPF has not")]
fn is_for_this_node(control: &Control, eth: &EthHdr) -> bool {
    let destination = mac_word(eth.dst_low, eth.dst_high);
    control.macs.iter().any(|mac| *mac == destination)
}

#[inline(always)]
fn decide_v4<'t, T: Tables>(frame: &Frame<'_>, view: &View<'t, T>, l3_offset: usize) -> Decision<'t> {
    let ip = match parse::ipv4(frame, l3_offset) {
        Ok(ip) => ip,
        Err(reason) => return Decision::Pass(reason),
    };
    let vip = Vip::v4(ip.dst_addr);
    if !view.services.may_be_vip(vip) {
        return Decision::Pass(PassReason::NotVip);
    }
    let transport = match parse::transport_v4(frame, l3_offset, ip) {
        Ok(transport) => transport,
        Err(none) => return without_transport(view.services, vip, none),
    };
    let service = match find_service(view.services, vip, &transport) {
        Ok(service) => service,
        Err(decision) => return decision,
    };
    forward_v4(view, service, l3_offset, ip, &transport)
}

#[inline(always)]
fn forward_v4<'t, T: Tables>(
    view: &View<'t, T>,
    service: &ServiceEntry,
    l3_offset: usize,
    ip: &Ipv4Hdr,
    transport: &Transport,
) -> Decision<'t> {
    let key = &view.node.control.flow_key;
    let flow_hash = flow_v4(key, ip.src_addr, ip.dst_addr, transport.ports, transport.protocol);
    let length_bytes = transport.length_bytes;
    to_backend(view, service, Packet { l3_offset, length_bytes, traffic_class: ip.tos, flow_hash })
}

#[inline(always)]
fn decide_v6<'t, T: Tables>(frame: &Frame<'_>, view: &View<'t, T>, l3_offset: usize) -> Decision<'t> {
    let ip = match parse::ipv6(frame, l3_offset) {
        Ok(ip) => ip,
        Err(reason) => return Decision::Pass(reason),
    };
    let vip = Vip::v6(&ip.dst_addr);
    if !view.services.may_be_vip(vip) {
        return Decision::Pass(PassReason::NotVip);
    }
    let transport = match parse::transport_v6(frame, l3_offset, ip) {
        Ok(transport) => transport,
        Err(none) => return without_transport(view.services, vip, none),
    };
    let service = match find_service(view.services, vip, &transport) {
        Ok(service) => service,
        Err(decision) => return decision,
    };
    forward_v6(view, service, l3_offset, ip, &transport)
}

#[inline(always)]
fn forward_v6<'t, T: Tables>(
    view: &View<'t, T>,
    service: &ServiceEntry,
    l3_offset: usize,
    ip: &Ipv6Hdr,
    transport: &Transport,
) -> Decision<'t> {
    let key = &view.node.control.flow_key;
    let flow_hash = flow_v6(key, &ip.src_addr, &ip.dst_addr, transport.ports, transport.protocol);
    let length_bytes = transport.length_bytes;
    // The traffic class lies across the first two bytes, behind the version (RFC 8200, 3).
    let traffic_class = (ip.vcf[0] << 4) | (ip.vcf[1] >> 4);
    to_backend(view, service, Packet { l3_offset, length_bytes, traffic_class, flow_hash })
}

/// What is known of a packet once it is parsed.
#[derive(Clone, Copy)]
struct Packet {
    l3_offset: usize,
    length_bytes: u16,
    traffic_class: u8,
    flow_hash: u64,
}

#[inline(always)]
const fn endpoint(transport: &Transport) -> Endpoint {
    Endpoint::of_packet(transport.ports, transport.protocol)
}

/// The service of a packet to a VIP; the hash of its flow is not needed before that.
#[inline(always)]
fn find_service<'t>(
    services: &'t ServiceTable,
    vip: Vip,
    transport: &Transport,
) -> Result<&'t ServiceEntry, Decision<'t>> {
    match services.find(vip, endpoint(transport)) {
        Some(_) if transport.is_cut() => Err(Decision::Drop(DropReason::BadLength)),
        Some(service) => Ok(service),
        None if !is_vip(services, vip) => Err(Decision::Pass(PassReason::NotVip)),
        None if transport.is_balanced() => Err(Decision::Drop(DropReason::NoService)),
        None => Err(Decision::Pass(PassReason::NotBalanced)),
    }
}

#[inline(always)]
fn to_backend<'t, T: Tables>(view: &View<'t, T>, service: &ServiceEntry, packet: Packet) -> Decision<'t> {
    let slot = slot_of(packet.flow_hash, service.slots_len);
    let id = match view.tables.slot(service.slots_base.wrapping_add(slot)).and_then(Slot::current) {
        Some(id) => id,
        None => return Decision::Drop(DropReason::NoBackend),
    };
    let backend = &view.node.backends[id.index()];
    let Some(mode) = Mode::from_u8(backend.mode) else { return Decision::Drop(DropReason::StaleBackend) };
    let length_bytes = packet.length_bytes;
    // Without an outer header the packet is no longer than it came; with one it may not fit the way out.
    let overhead = mode.overhead_bytes();
    if overhead > 0 && u32::from(length_bytes) + u32::from(overhead) > u32::from(backend.mtu_bytes) {
        return Decision::Drop(DropReason::ExceedsMtu);
    }
    Decision::Forward(Forward {
        id,
        backend,
        mode,
        l3_offset: packet.l3_offset,
        length_bytes,
        traffic_class: packet.traffic_class,
        flow_hash: packet.flow_hash,
    })
}

#[inline(always)]
fn without_transport<'t>(services: &ServiceTable, vip: Vip, none: NoTransport) -> Decision<'t> {
    if !is_vip(services, vip) {
        return Decision::Pass(PassReason::NotVip);
    }
    match none {
        NoTransport::OtherProtocol => Decision::Pass(PassReason::NotBalanced),
        NoTransport::Unusable(reason) => Decision::Drop(reason),
    }
}

#[inline(always)]
fn is_vip(services: &ServiceTable, vip: Vip) -> bool {
    services.find(vip, Endpoint::VIP).is_some()
}
