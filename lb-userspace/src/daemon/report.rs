//! What the API tells: the core's state in the words of `api::types`.

use lb_common::abi::counters::Counter;
use lb_common::reason::{DropReason, PassReason};

use super::Identity;
use super::core::Core;
use crate::api;
use crate::api::types::{
    Action, Backend, BackendHealth, Backends, Interface, Neighbor, Reason, Service, Services, Status,
    VERSION, Xdp,
};
use crate::dataplane::Dataplane;
use crate::dataplane::kernel::Attached;
use crate::desired::{ServiceKey, fits_mode};
use crate::model;
use crate::neighbor::format_mac;

/// The node as a whole.
pub(super) fn status<D: Dataplane>(core: &Core<D>, identity: &Identity) -> Result<Status, api::Error> {
    let backends = backends(core, None)?.backends;
    let reason = |action, name: &str, counter: std::io::Result<Counter>| {
        let counter = counter.map_err(unreadable)?;
        Ok(Reason { action, reason: name.to_owned(), packets: counter.packets, bytes: counter.bytes })
    };
    let passed = PassReason::ALL.iter().map(|r| reason(Action::Pass, r.name(), core.dataplane.passed(*r)));
    let dropped = DropReason::ALL.iter().map(|r| reason(Action::Drop, r.name(), core.dataplane.dropped(*r)));
    Ok(Status {
        version: VERSION,
        node: core.config.node.name.clone(),
        xlb_version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: identity.started.elapsed().as_secs(),
        interfaces: identity.attached.iter().map(|(name, mode)| interface(core, name, *mode)).collect(),
        services: count(core.config.services.len()),
        backends: count(backends.len()),
        backends_serving: count(backends.iter().filter(|backend| backend.serving).count()),
        slots_used: services(core)?.services.iter().map(|service| service.slots).sum(),
        slots_max: core.dataplane.tables().max_slots(),
        reasons: passed.chain(dropped).collect::<Result<_, _>>()?,
    })
}

fn interface<D>(core: &Core<D>, name: &str, mode: Attached) -> Interface {
    let known = core.snapshot.interfaces.iter().find(|(_, interface)| interface.name == name);
    Interface {
        name: name.to_owned(),
        index: known.map_or(0, |(index, _)| *index),
        mac: known.and_then(|(_, interface)| interface.mac).map(format_mac).unwrap_or_default(),
        xdp: match mode {
            Attached::Native => Xdp::Native,
            Attached::Generic => Xdp::Generic,
        },
    }
}

/// All services.
pub(super) fn services<D: Dataplane>(core: &Core<D>) -> Result<Services, api::Error> {
    let one = |service: &model::Service| {
        let backends = backends_of(core, service)?;
        Ok(Service {
            name: service.name.clone(),
            address: service.address.to_string(),
            port: service.port,
            protocol: service.protocol,
            mode: service.mode,
            slots: core.installed.service(&key(service)).map_or(0, |installed| count(installed.slots_len())),
            backends: count(backends.len()),
            backends_serving: count(backends.iter().filter(|backend| backend.serving).count()),
            packets: backends.iter().map(|backend| backend.packets).sum(),
            bytes: backends.iter().map(|backend| backend.bytes).sum(),
        })
    };
    let services = core.config.services.iter().map(one).collect::<Result<_, _>>()?;
    Ok(Services { version: VERSION, services })
}

/// The backends of one service, or of all.
pub(super) fn backends<D: Dataplane>(core: &Core<D>, service: Option<&str>) -> Result<Backends, api::Error> {
    let services = &core.config.services;
    if let Some(name) = service
        && !services.iter().any(|service| service.name == name)
    {
        return Err(api::Error::no_service(name, services.iter().map(|service| service.name.as_str())));
    }
    let mut backends = Vec::new();
    for one in services.iter().filter(|one| service.is_none_or(|name| one.name == name)) {
        backends.extend(backends_of(core, one)?);
    }
    Ok(Backends { version: VERSION, backends })
}

fn backends_of<D: Dataplane>(core: &Core<D>, service: &model::Service) -> Result<Vec<Backend>, api::Error> {
    let installed = core.installed.service(&key(service));
    let slots = installed.map(|installed| installed.slots_by_backend()).unwrap_or_default();
    let states = core.states.get(&service.name);
    let one = |backend: &model::Backend| {
        let state = states.and_then(|states| states.get(&backend.name)).cloned().unwrap_or_default();
        let next_hop = core.snapshot.next_hops.get(&backend.address);
        let id = installed.and_then(|installed| installed.backend(backend.address));
        let counter = match id {
            Some(id) => core.dataplane.forwarded(id).map_err(unreadable)?,
            None => Counter::default(),
        };
        let owned = id.and_then(|id| slots.get(&id)).copied().unwrap_or_default();
        let detail = match next_hop {
            Some(Err(why)) => why.to_string(),
            None => "its next hop is being looked up".to_owned(),
            Some(Ok(hop)) => match hop.gateway {
                Some(gateway) if !fits_mode(service.mode, hop) => format!(
                    "is behind router {gateway}: mode dsr needs a backend on a network of this node, mode ipip does not"
                ),
                Some(_) | None => state.detail.clone(),
            },
        };
        Ok(Backend {
            service: service.name.clone(),
            name: backend.name.clone(),
            address: backend.address.to_string(),
            weight: backend.weight,
            health: state.health.map_or(BackendHealth::Unchecked, BackendHealth::from),
            admin: state.admin,
            neighbor: if matches!(next_hop, Some(Ok(_))) { Neighbor::Resolved } else { Neighbor::Unresolved },
            next_hop: next_hop
                .and_then(|next_hop| next_hop.as_ref().ok())
                .map(|hop| format!("{} via {}", format_mac(hop.mac), hop.interface)),
            serving: owned > 0,
            slots: count(owned),
            share: share(owned, installed.map_or(0, |installed| installed.slots_len())),
            packets: counter.packets,
            bytes: counter.bytes,
            detail,
        })
    };
    service.backends.iter().map(one).collect()
}

fn key(service: &model::Service) -> ServiceKey {
    ServiceKey { address: service.address, port: service.port, protocol: service.protocol }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(count(part)) / f64::from(count(whole)) }
}

/// Numbers of services, backends and slots are far below 2^32.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn unreadable(error: std::io::Error) -> api::Error {
    api::Error::Failed(format!("the kernel does not tell its counters: {error}"))
}
