//! What the tables should hold: a pure function of the configuration and of what is known about the backends.
//!
//! Every event ends here: a change of the configuration, of a backend's health or admin state, of a route or a neighbor.
//! How the tables get there is `reconcile`'s business.

use std::collections::HashMap;
use std::net::IpAddr;

use lb_common::abi::backend as abi;
use lb_common::checksum;
use lb_common::parse::protocol;

use crate::health::Health;
use crate::model::{Admin, Config, Mode, Prefix, Protocol, Service};
use crate::neighbor::{NextHop, Resolution};

/// What the tables should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// MAC addresses that frames for this node are sent to.
    pub macs: Vec<[u8; 6]>,
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
    /// Its backends, whether they take traffic or not.
    pub backends: Vec<DesiredBackend>,
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

/// One backend of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredBackend {
    /// What tells the backends of a service apart.
    pub address: IpAddr,
    /// Its share; 0 while it takes no traffic.
    pub weight: u32,
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
    macs: Vec<[u8; 6]>,
) -> Desired {
    let services =
        config.services.iter().map(|service| desired_service(service, states, next_hops)).collect();
    Desired { macs, services }
}

fn desired_service(
    service: &Service,
    states: &States,
    next_hops: &HashMap<IpAddr, Resolution>,
) -> DesiredService {
    let states = states.get(&service.name);
    let weighted = service.backends.iter().filter(|backend| backend.weight > 0).count();
    let backends = service
        .backends
        .iter()
        .map(|backend| {
            let entry = match next_hops.get(&backend.address) {
                Some(Ok(next_hop))
                    if carried(service, backend.address) && fits_mode(service.mode, next_hop) =>
                {
                    Some(entry(service, backend.address, next_hop))
                }
                Some(Ok(_) | Err(_)) | None => None,
            };
            let allowed =
                states.and_then(|states| states.get(&backend.name)).is_some_and(BackendState::allows_traffic);
            let weight = if allowed && entry.is_some() { u32::from(backend.weight) } else { 0 };
            DesiredBackend { address: backend.address, weight, entry }
        })
        .collect();
    DesiredService {
        name: service.name.clone(),
        key: ServiceKey { address: service.address, port: service.port, protocol: service.protocol },
        size: service.slots.map_or_else(
            || TableSize::AtLeast(lb_common::maglev::table_size(u32::try_from(weighted).unwrap_or(u32::MAX))),
            TableSize::Fixed,
        ),
        backends,
    }
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

/// Whether the data plane has a way to this backend: until it has the other modes, and an inner packet of another family than
/// the outer header's, backends there take no traffic.
const fn carried(service: &Service, backend: IpAddr) -> bool {
    match service.mode {
        Mode::Dsr | Mode::Ipip => service.address.is_ipv4() == backend.is_ipv4(),
        Mode::Gue | Mode::Nat | Mode::Fullnat => false,
    }
}

/// Time to live and hop limit of an outer header: that of a host that sends a packet of its own.
const OUTER_TTL: u8 = 64;

fn entry(service: &Service, backend: IpAddr, next_hop: &NextHop) -> abi::Backend {
    let mut entry = abi::Backend {
        next_hop_mac: next_hop.mac,
        source_mac: next_hop.source_mac,
        interface: next_hop.interface_index,
        mode: 0,
        reserved: [0],
        mtu_bytes: u16::try_from(next_hop.mtu_bytes).unwrap_or(u16::MAX),
        outer_sum: 0,
        outer_source_mask: 0,
        outer: [0; 40],
    };
    let (source, mask) = outer_source(service.encap_source, next_hop.source_address);
    entry.mode = match (service.mode, source, backend) {
        (Mode::Dsr, _, _) => abi::Mode::Dsr,
        (Mode::Ipip, IpAddr::V4(source), IpAddr::V4(destination)) => {
            entry.outer_source_mask = mask;
            let header = &mut entry.outer[..20];
            // Version and header length; don't-fragment, so that the identification may stay 0 (RFC 6864, 4.1).
            header[0] = 0x45;
            header[6] = 0x40;
            header[8] = OUTER_TTL;
            header[9] = protocol::IPV4;
            header[12..16].copy_from_slice(&source.octets());
            header[16..20].copy_from_slice(&destination.octets());
            entry.outer_sum = checksum::fold(checksum::sum(header));
            abi::Mode::IpipV4
        }
        (Mode::Ipip, IpAddr::V6(source), IpAddr::V6(destination)) => {
            entry.outer_source_mask = mask;
            entry.outer[0] = 0x60;
            entry.outer[6] = protocol::IPV6;
            entry.outer[7] = OUTER_TTL;
            entry.outer[8..24].copy_from_slice(&source.octets());
            entry.outer[24..40].copy_from_slice(&destination.octets());
            abi::Mode::IpipV6
        }
        // A next hop's source address has the family of its destination.
        (Mode::Ipip, IpAddr::V4(_), IpAddr::V6(_))
        | (Mode::Ipip, IpAddr::V6(_), IpAddr::V4(_))
        | (Mode::Gue | Mode::Nat | Mode::Fullnat, _, _) => {
            return entry;
        }
    } as u8;
    entry
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
