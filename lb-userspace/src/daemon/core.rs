//! The state of the node, and what each event does to it.
//!
//! No sockets, no timers: events come in, tables change, answers go out. Over `dataplane::memory` the same code runs in tests.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use tokio::sync::mpsc;

use super::{Identity, report};
use crate::api::{self, Request};
use crate::config;
use crate::dataplane::Dataplane;
use crate::desired::{BackendState, States, desired};
use crate::health::{self, Checker, Health, Target};
use crate::model::{Admin, Backend, Config, Service};
use crate::neighbor::Snapshot;
use crate::reconcile::{self, Installed, plan};

/// Everything the core loop knows.
pub(crate) struct Core<D> {
    pub(super) config: Config,
    pub(super) states: States,
    pub(super) snapshot: Snapshot,
    pub(super) installed: Installed,
    pub(super) dataplane: D,
    checkers: HashMap<Target, Checker>,
    health_events: mpsc::Sender<health::Event>,
}

/// The addresses of all backends.
pub(super) fn addresses(config: &Config) -> BTreeSet<IpAddr> {
    config.services.iter().flat_map(|service| &service.backends).map(|backend| backend.address).collect()
}

impl<D: Dataplane> Core<D> {
    /// A node that has installed nothing yet; its checks begin.
    pub(super) fn new(
        config: Config,
        dataplane: D,
        snapshot: Snapshot,
        health_events: mpsc::Sender<health::Event>,
    ) -> Self {
        let installed = Installed::empty(lb_max_slots(&dataplane));
        let mut core = Self {
            config,
            states: States::new(),
            snapshot,
            installed,
            dataplane,
            checkers: HashMap::new(),
            health_events,
        };
        core.follow_config();
        core
    }

    /// For what is done once around the loop: attaching.
    pub(super) fn dataplane_mut(&mut self) -> &mut D {
        &mut self.dataplane
    }

    /// The addresses that have to be resolved.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        addresses(&self.config)
    }

    /// Makes the tables what they should be.
    ///
    /// # Errors
    /// When that cannot be had; the tables stay as they are.
    pub(super) fn reconcile(&mut self) -> Result<(), reconcile::Error> {
        let macs = self.node_macs();
        let desired = desired(&self.config, &self.states, &self.snapshot.next_hops, macs);
        let plan = plan(&mut self.installed, &desired)?;
        let (steps, slots) = (plan.steps().len(), plan.slots_written());
        if let Err(error) = plan.apply(&mut self.dataplane, &mut self.installed) {
            tracing::warn!(%error, "a counter keeps the value of an earlier backend");
        }
        if steps > 0 {
            tracing::debug!(steps, slots, "tables changed");
        }
        Ok(())
    }

    /// MAC addresses of the interfaces the program is attached to.
    fn node_macs(&self) -> Vec<[u8; 6]> {
        let names = &self.config.node.interfaces;
        let of =
            |name: &String| self.snapshot.interfaces.values().find(|i| i.name == *name).and_then(|i| i.mac);
        names.iter().filter_map(of).collect()
    }

    /// A check has something to say.
    pub(super) fn on_health(&mut self, event: health::Event) {
        let state = self.states.get_mut(&event.service).and_then(|states| states.get_mut(&event.backend));
        // The last word of a check that was stopped meanwhile.
        let Some(state) = state.filter(|state| state.health.is_some()) else { return };
        if state.health != Some(event.health) {
            let (backend, health) = (format!("{}/{}", event.service, event.backend), event.health);
            match health {
                Health::Up => tracing::info!(backend, detail = event.detail, "backend is up"),
                Health::Down => tracing::warn!(backend, detail = event.detail, "backend is down"),
                Health::Unknown => tracing::info!(backend, "backend is unknown"),
            }
        }
        state.health = Some(event.health);
        state.detail = event.detail;
    }

    /// Routes, neighbors or links have changed.
    pub(super) fn on_snapshot(&mut self, snapshot: Snapshot) {
        for (address, next_hop) in &snapshot.next_hops {
            match (self.snapshot.next_hops.get(address), next_hop) {
                (Some(Ok(_)), Err(why)) => {
                    tracing::warn!(%address, %why, "backend address cannot be reached")
                }
                (Some(Err(_)) | None, Ok(hop)) => {
                    tracing::info!(%address, interface = hop.interface, "backend address is reachable");
                }
                (Some(Ok(_)), Ok(_)) | (Some(Err(_)) | None, Err(_)) => {}
            }
        }
        self.snapshot = snapshot;
    }

    /// Somebody asks over the API.
    pub(super) fn on_request(&mut self, request: Request, identity: &Identity) {
        match request {
            Request::Status { reply } => answer(reply, report::status(self, identity)),
            Request::Services { reply } => answer(reply, report::services(self)),
            Request::Backends { service, reply } => answer(reply, report::backends(self, service.as_deref())),
            Request::AddBackend { service, backend, reply } => {
                answer(reply, self.add_backend(&service, &backend));
            }
            Request::DeleteBackend { service, name, reply } => {
                answer(reply, self.delete_backend(&service, &name));
            }
            Request::SetAdmin { service, name, admin, reply } => {
                answer(reply, self.set_admin(&service, &name, admin));
            }
        }
    }

    fn add_backend(&mut self, service: &str, new: &config::NewBackend) -> Result<(), api::Error> {
        let index = self.service_index(service)?;
        let backend =
            config::backend(&self.config, &self.config.services[index], new).map_err(api::Error::Invalid)?;
        self.change(|config| config.services[index].backends.push(backend.clone()))?;
        tracing::info!(backend = format!("{service}/{}", new.name), "backend added");
        Ok(())
    }

    fn delete_backend(&mut self, service: &str, name: &str) -> Result<(), api::Error> {
        let (index, backend) = self.backend_index(service, name)?;
        self.change(|config| drop(config.services[index].backends.remove(backend)))?;
        tracing::info!(backend = format!("{service}/{name}"), "backend deleted");
        Ok(())
    }

    fn set_admin(&mut self, service: &str, name: &str, admin: Admin) -> Result<(), api::Error> {
        self.backend_index(service, name)?;
        let state = self.states.entry(service.to_owned()).or_default().entry(name.to_owned()).or_default();
        let before = std::mem::replace(&mut state.admin, admin);
        if let Err(error) = self.reconcile() {
            self.states.entry(service.to_owned()).or_default().entry(name.to_owned()).or_default().admin =
                before;
            return Err(api::Error::Conflict(error.to_string()));
        }
        if before != admin {
            tracing::info!(backend = format!("{service}/{name}"), %admin, "admin state changed");
        }
        Ok(())
    }

    /// Takes another configuration as a whole.
    ///
    /// # Errors
    /// When its tables cannot be had, or it asks for what only a start can do; the one before stays.
    pub(super) fn reload(&mut self, config: Config) -> Result<(), api::Error> {
        let node = (&config.node.interfaces, config.node.xdp_mode, config.node.max_slots);
        if node != (&self.config.node.interfaces, self.config.node.xdp_mode, self.config.node.max_slots) {
            return Err(api::Error::Conflict(
                "interfaces, xdp_mode and max_slots of [node] take effect at start only: restart xlb to change them"
                    .to_owned(),
            ));
        }
        self.change(|current| *current = config)
    }

    /// Changes the configuration, or leaves it when the tables for the new one cannot be had.
    fn change(&mut self, change: impl FnOnce(&mut Config)) -> Result<(), api::Error> {
        let before = self.config.clone();
        change(&mut self.config);
        self.follow_config();
        self.reconcile().map_err(|error| {
            self.config = before;
            self.follow_config();
            api::Error::Conflict(error.to_string())
        })
    }

    /// Gives every backend of the configuration a state and its check, and forgets those that are not in it any more.
    fn follow_config(&mut self) {
        let mut states = States::new();
        let mut checkers = HashMap::new();
        for service in &self.config.services {
            let before = self.states.remove(&service.name).unwrap_or_default();
            let of_service = states.entry(service.name.clone()).or_default();
            for backend in &service.backends {
                let mut state = before.get(&backend.name).cloned().unwrap_or_default();
                match target(service, backend) {
                    Some(target) => {
                        if let Some(checker) = self.checkers.remove(&target) {
                            checkers.insert(target, checker);
                        } else {
                            state = BackendState {
                                health: Some(Health::Unknown),
                                detail: String::new(),
                                ..state
                            };
                            let checker = health::spawn(target.clone(), self.health_events.clone());
                            checkers.insert(target, checker);
                        }
                    }
                    None => state = BackendState { health: None, detail: String::new(), ..state },
                }
                of_service.insert(backend.name.clone(), state);
            }
        }
        self.states = states;
        self.checkers = checkers;
    }

    fn service_index(&self, name: &str) -> Result<usize, api::Error> {
        let services = &self.config.services;
        services
            .iter()
            .position(|service| service.name == name)
            .ok_or_else(|| api::Error::no_service(name, services.iter().map(|service| service.name.as_str())))
    }

    fn backend_index(&self, service: &str, name: &str) -> Result<(usize, usize), api::Error> {
        let index = self.service_index(service)?;
        let backends = &self.config.services[index].backends;
        let backend = backends.iter().position(|backend| backend.name == name).ok_or_else(|| {
            api::Error::no_backend(service, name, backends.iter().map(|backend| backend.name.as_str()))
        })?;
        Ok((index, backend))
    }
}

fn answer<T>(reply: api::Reply<T>, result: Result<T, api::Error>) {
    // A client that has gone needs no answer.
    let _ = reply.send(result);
}

fn target(service: &Service, backend: &Backend) -> Option<Target> {
    let check = service.check.clone()?;
    let port = check.port.unwrap_or(service.port);
    Some(Target {
        service: service.name.clone(),
        backend: backend.name.clone(),
        address: SocketAddr::new(backend.address, port),
        check,
    })
}

fn lb_max_slots(dataplane: &impl Dataplane) -> u32 {
    dataplane.tables().max_slots()
}

#[cfg(test)]
mod tests;
