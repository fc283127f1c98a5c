//! What the API tells: the core's state in the words of `api::types`.

use lb_common::abi::counters::Counter;
use lb_common::reason::{AnswerKind, DropReason, Event, PassReason};

use super::Identity;
use super::core::{Core, key};
use crate::api;
use crate::api::types::{
    Action, Backend, BackendHealth, Backends, Interface, Memory, Neighbor, Reason, Service, Services, Status,
    VERSION, Xdp,
};
use crate::dataplane::Dataplane;
use crate::dataplane::kernel::Attached;
use crate::desired::{fits_mode, server};
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
    let answered =
        AnswerKind::ALL.iter().map(|k| reason(Action::Answer, k.name(), core.dataplane.answered(*k)));
    let memory = memory(core)?;
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
        alarms: alarms(&memory),
        memory,
        reasons: passed.chain(dropped).chain(answered).collect::<Result<_, _>>()?,
    })
}

fn memory<D: Dataplane>(core: &Core<D>) -> Result<Memory, api::Error> {
    let happened = |event| core.dataplane.happened(event).map_err(unreadable);
    Ok(Memory {
        flows: core.swept.live,
        flows_max: core.dataplane.tables().max_flows(),
        flows_inserted: happened(Event::FlowInserted)? + happened(Event::FlowEvicted)?,
        flows_evicted: happened(Event::FlowEvicted)?,
        flows_refused: happened(Event::FlowRefused)?,
        fragments_inserted: happened(Event::FragmentInserted)?,
        fragments_refused: happened(Event::FragmentRefused)?,
        connections: core.dataplane.connections(),
        connections_max: u64::from(core.config.node.max_nat_flows),
        connections_inserted: happened(Event::ConnectionInserted)?,
        connections_refused: happened(Event::ConnectionRefused)?,
        replies: happened(Event::ReplySent)?,
        quic_routed: happened(Event::QuicRouted)?,
    })
}

/// What a full table means, and what to do about it.
fn alarms(memory: &Memory) -> Vec<String> {
    let mut alarms = Vec::new();
    // A set of eight fills before the table does.
    if memory.flows * 4 > memory.flows_max * 3 {
        alarms.push(format!(
            "{} of {} flows are remembered: new ones may find no room; raise max_flows in [node]",
            memory.flows, memory.flows_max
        ));
    }
    if memory.flows_refused > 0 {
        alarms.push(format!(
            "{} flows found no room in the flow table and go where unknown flows go; raise max_flows in [node]",
            memory.flows_refused
        ));
    }
    if memory.connections_refused > 0 {
        alarms.push(format!(
            "{} connections were refused in mode fullnat: raise max_nat_flows in [node], or name more source_addresses",
            memory.connections_refused
        ));
    }
    if memory.fragments_refused > 0 {
        alarms.push(format!(
            "{} fragmented packets found no room and were lost: raise max_fragments in [node]",
            memory.fragments_refused
        ));
    }
    alarms
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
            tracking: service.tracking,
            slots_tracked: core
                .installed
                .service(&key(service))
                .map_or(0, |installed| count(installed.slot_counts().tracked)),
            flows: backends.iter().map(|backend| backend.flows).sum(),
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
    let one = |(backend, leaving): (&model::Backend, bool)| {
        let state = states.and_then(|states| states.get(&backend.name)).cloned().unwrap_or_default();
        let next_hop = core.snapshot.next_hops.get(&backend.address);
        let id = installed.and_then(|installed| installed.backend(server(service.mode, backend)));
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
                    "is behind router {gateway}: mode dsr needs a backend on a network of this node, the other modes do not"
                ),
                Some(_) | None => state.detail.clone(),
            },
        };
        Ok(Backend {
            service: service.name.clone(),
            name: backend.name.clone(),
            address: backend.address.to_string(),
            port: backend.port,
            leaving,
            flows: id.map_or(0, |id| core.flows_of(id)),
            weight: if leaving { 0 } else { backend.weight },
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
            new_flows: counter.new_flows,
            detail: if leaving {
                "is deleted, and goes when its flows have ended".to_owned()
            } else {
                detail
            },
        })
    };
    let leaving = core.leaving.get(&service.name).into_iter().flatten();
    service.backends.iter().map(|one| (one, false)).chain(leaving.map(|one| (one, true))).map(one).collect()
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(count(part)) / f64::from(count(whole)) }
}

/// Numbers of services, backends and slots are far below 2^32.
pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn unreadable(error: std::io::Error) -> api::Error {
    api::Error::Failed(format!("the kernel does not tell its counters: {error}"))
}
