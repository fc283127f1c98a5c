//! What the tables should hold: a pure function of the configuration and of what is known about the backends.
//!
//! Every event ends here: a change of the configuration, of a backend's health or admin state, of a route or a neighbor.
//! How the tables get there is `reconcile`'s business.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use lb_common::abi::backend as abi;
use lb_common::abi::features::Features;
use lb_common::checksum;
use lb_common::parse::protocol;
use lb_common::rewrite::gue;

use crate::health::Health;
use crate::model::{Admin, Backend, Config, Mode, OnDown, Prefix, Protocol, Service, Tracking};
use crate::neighbor::{NextHop, Resolution};

/// What the tables should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Interfaces of this node: index and MAC address that frames for it are sent to.
    pub interfaces: Vec<(u32, [u8; 6])>,
    /// Services in the order of the configuration.
    pub services: Vec<DesiredService>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredService {
    /// Its name, for messages.
    pub name: String,
    /// What clients use.
    pub key: ServiceKey,
    /// How many slots it gets.
    pub size: TableSize,
    /// What it wants besides slots.
    pub settings: Settings,
    /// Its backends, whether they take traffic or not.
    pub backends: Vec<DesiredBackend>,
}

/// What a service wants besides slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which flows are remembered.
    pub tracking: Tracking,
    /// After how many silent seconds a flow has ended, at least 1.
    pub idle_seconds: u16,
    /// Sources and whether they are let in.
    pub list: BTreeMap<Prefix, bool>,
    /// Whether a source that no prefix covers is denied.
    pub deny_unlisted: bool,
    /// Microseconds in which one source earns a new flow, and how many it can save up.
    pub limit: Option<(u32, u32)>,
    /// Whether QUIC connection IDs name the backend.
    pub quic: bool,
    /// Whether replies are recognised by the backend's address and port (mode `nat`).
    pub replies: bool,
    /// Source addresses of mode `fullnat`.
    pub sources: Vec<IpAddr>,
}

impl Settings {
    /// The program does not have to have more than slots for it.
    pub const PLAIN: Self = Self {
        tracking: Tracking::Off,
        idle_seconds: 300,
        list: BTreeMap::new(),
        deny_unlisted: false,
        limit: None,
        quic: false,
        replies: false,
        sources: Vec::new(),
    };
}

/// What tells services apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The VIP.
    pub address: IpAddr,
    /// Port, host order.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// How many slots a service gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableSize {
    /// As the configuration says.
    Fixed(u32),
    /// At least this many; a table that is larger already stays, because another size moves flows.
    AtLeast(u32),
}

/// What tells the backends of a service apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server {
    /// Its address.
    pub address: IpAddr,
    /// Its port in a mode that translates, else 0.
    pub port: u16,
}

/// One backend of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredBackend {
    /// What tells the backends of a service apart.
    pub server: Server,
    /// Its share; 0 while it takes no new flows.
    pub weight: u32,
    /// Whether it is dead, and its flows with it.
    pub down: bool,
    /// What its QUIC connection IDs say.
    pub server_id: Option<u16>,
    /// What packets to it get; `None` while its next hop is not known.
    pub entry: Option<abi::Backend>,
}

/// What is known about one backend besides its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendState {
    /// Result of its check; `None` without one.
    pub health: Option<Health>,
    /// Why it is so, for people.
    pub detail: String,
    /// The operator's wish.
    pub admin: Admin,
}

impl BackendState {
    /// Whether the backend may get new flows, next hop aside.
    #[must_use]
    pub const fn allows_traffic(&self) -> bool {
        let healthy = match self.health {
            None | Some(Health::Up) => true,
            Some(Health::Down | Health::Unknown) => false,
        };
        healthy && matches!(self.admin, Admin::Ready)
    }
}

/// States by service and backend name.
pub type States = HashMap<String, HashMap<String, BackendState>>;

/// Computes what the tables should hold.
#[must_use]
pub fn desired(
    config: &Config,
    states: &States,
    next_hops: &HashMap<IpAddr, Resolution>,
    interfaces: Vec<(u32, [u8; 6])>,
) -> Desired {
    let services =
        config.services.iter().map(|service| desired_service(service, states, next_hops)).collect();
    Desired { interfaces, services }
}

fn desired_service(
    service: &Service,
    states: &States,
    next_hops: &HashMap<IpAddr, Resolution>,
) -> DesiredService {
    let states = states.get(&service.name);
    let weighted = service.backends.iter().filter(|backend| backend.weight > 0).count();
    let one = |backend: &Backend| {
        let next_hop = next_hops.get(&backend.address);
        let entry = match next_hop {
            Some(Ok(next_hop)) if fits_mode(service.mode, next_hop) => {
                Some(entry(service, backend, next_hop))
            }
            Some(Ok(_) | Err(_)) | None => None,
        };
        let state = states.and_then(|states| states.get(&backend.name));
        let allowed = state.is_some_and(BackendState::allows_traffic);
        let dead = matches!(next_hop, Some(Err(_))) || state.is_some_and(|s| s.health == Some(Health::Down));
        DesiredBackend {
            server: server(service.mode, backend),
            weight: if allowed && entry.is_some() { u32::from(backend.weight) } else { 0 },
            down: dead && service.on_down == OnDown::Reset,
            server_id: backend.server_id,
            entry,
        }
    };
    DesiredService {
        name: service.name.clone(),
        key: ServiceKey { address: service.address, port: service.port, protocol: service.protocol },
        size: service.slots.map_or_else(
            || TableSize::AtLeast(lb_common::maglev::table_size(u32::try_from(weighted).unwrap_or(u32::MAX))),
            TableSize::Fixed,
        ),
        settings: settings(service),
        backends: service.backends.iter().map(one).collect(),
    }
}

/// What tells a backend from the others of its service.
#[must_use]
pub const fn server(mode: Mode, backend: &Backend) -> Server {
    Server { address: backend.address, port: if mode.translates() { backend.port } else { 0 } }
}

fn settings(service: &Service) -> Settings {
    let allowed = service.allow.iter().map(|prefix| (*prefix, true));
    let denied = service.deny.iter().map(|prefix| (*prefix, false));
    // A connection of mode fullnat is remembered as a whole, beside the flow table.
    let tracking = if service.mode == Mode::Fullnat { Tracking::Off } else { service.tracking };
    Settings {
        tracking,
        idle_seconds: u16::try_from(service.idle_timeout.as_secs()).unwrap_or(u16::MAX).max(1),
        list: allowed.chain(denied).collect(),
        deny_unlisted: !service.allow.is_empty(),
        limit: service.rate_limit.map(|limit| {
            let interval = 1_000_000_000 / limit.per_second_milli.max(1);
            (u32::try_from(interval).unwrap_or(u32::MAX).max(1), limit.burst)
        }),
        quic: service.quic,
        replies: service.mode == Mode::Nat,
        sources: service.source_addresses.clone(),
    }
}

/// What the loaded program has to be able to do for this configuration.
#[must_use]
pub fn features(config: &Config) -> Features {
    let mut features = if config.node.answer_neighbors { Features::NEIGHBORS } else { Features::NONE };
    for service in &config.services {
        let settings = settings(service);
        let wanted = [
            (settings.tracking != Tracking::Off, Features::TRACKING),
            (service.mode == Mode::Ipip, Features::IPIP),
            (service.mode == Mode::Gue, Features::GUE),
            (service.mode == Mode::Nat, Features::NAT),
            (service.mode == Mode::Fullnat, Features::FULLNAT),
            (!settings.list.is_empty() || settings.deny_unlisted, Features::LISTS),
            (settings.limit.is_some(), Features::LIMITS),
            (settings.quic, Features::QUIC),
        ];
        for (_, feature) in wanted.into_iter().filter(|(is_wanted, _)| *is_wanted) {
            features = features.with(feature);
        }
    }
    features
}

/// Whether packets of a mode get to a backend over this next hop: with `dsr` the destination stays the VIP, and a router in
/// between would send them back.
#[must_use]
pub const fn fits_mode(mode: Mode, next_hop: &NextHop) -> bool {
    match mode {
        Mode::Dsr => next_hop.gateway.is_none(),
        Mode::Ipip | Mode::Gue | Mode::Nat | Mode::Fullnat => true,
    }
}

/// Time to live and hop limit of an outer header: that of a host that sends a packet of its own.
const OUTER_TTL: u8 = 64;

fn entry(service: &Service, backend: &Backend, next_hop: &NextHop) -> abi::Backend {
    let mut entry = abi::Backend {
        next_hop_mac: next_hop.mac,
        source_mac: next_hop.source_mac,
        interface: next_hop.interface_index,
        mode: 0,
        flags: 0,
        mtu_bytes: u16::try_from(next_hop.mtu_bytes).unwrap_or(u16::MAX),
        sum: 0,
        bits: 0,
        template: [0; 40],
    };
    match service.mode {
        Mode::Dsr => entry.mode = abi::Mode::Dsr as u8,
        Mode::Ipip | Mode::Gue => encapsulate(&mut entry, service, backend, next_hop),
        Mode::Nat | Mode::Fullnat => translate(&mut entry, service, backend),
    }
    entry
}

/// The outer header. A next hop's source address has the family of its destination; where a configured one has not, the entry
/// stays unused.
fn encapsulate(entry: &mut abi::Backend, service: &Service, backend: &Backend, next_hop: &NextHop) {
    let (source, bits) = outer_source(service.encap_source, next_hop.source_address);
    let is_gue = service.mode == Mode::Gue;
    let inner = if service.address.is_ipv4() { protocol::IPV4 } else { protocol::IPV6 };
    let carried = if is_gue { protocol::UDP } else { inner };
    let port = service.gue_port.to_be_bytes();
    let header = &mut entry.template;
    match (source, backend.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            // Version and header length; don't-fragment, so that the identification may stay 0 (RFC 6864, 4.1).
            header[0] = 0x45;
            header[6] = 0x40;
            header[8] = OUTER_TTL;
            header[9] = carried;
            header[12..16].copy_from_slice(&source.octets());
            header[16..20].copy_from_slice(&destination.octets());
            entry.sum = checksum::fold(checksum::sum(&header[..20]));
            if is_gue {
                header[22..24].copy_from_slice(&port);
            }
            entry.mode = if is_gue { abi::Mode::GueV4 } else { abi::Mode::IpipV4 } as u8;
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            header[0] = 0x60;
            header[6] = carried;
            header[7] = OUTER_TTL;
            header[8..24].copy_from_slice(&source.octets());
            header[24..40].copy_from_slice(&destination.octets());
            if is_gue {
                header[4..6].copy_from_slice(&port);
                entry.sum = gue::template_sum(&source.octets(), &destination.octets(), service.gue_port);
            }
            entry.mode = if is_gue { abi::Mode::GueV6 } else { abi::Mode::IpipV6 } as u8;
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return,
    }
    entry.bits = bits;
}

/// Address and port, and what the checksums change by.
fn translate(entry: &mut abi::Backend, service: &Service, backend: &Backend) {
    let (address, vip) = (wire(backend.address), wire(service.address));
    let translation = abi::Translation {
        address,
        vip,
        port: backend.port.to_be_bytes(),
        vip_port: service.port.to_be_bytes(),
        pool: [[0; 2]; 2],
    };
    entry.template = bytemuck::cast(translation);
    let (old, new) = (checksum::sum16(&vip), checksum::sum16(&address));
    entry.bits = checksum::difference(old, new);
    entry.sum = checksum::difference(old + u32::from(service.port), new + u32::from(backend.port));
    entry.mode = if service.mode == Mode::Nat { abi::Mode::Nat } else { abi::Mode::Fullnat } as u8;
}

/// Wire bytes, an IPv4 address in the first four.
#[must_use]
pub fn wire(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The fixed part of the outer source address, and which of its last 16 bits follow the flow.
fn outer_source(configured: Option<Prefix>, local: IpAddr) -> (IpAddr, u16) {
    let Some(prefix) = configured else { return (local, 0) };
    let address_bits: u8 = match prefix.address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let free_bits = address_bits.saturating_sub(prefix.length_bits).min(16);
    let mask = 1u32.checked_shl(u32::from(free_bits)).map_or(0, |bits| bits - 1);
    (prefix.address, u16::try_from(mask).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests;
