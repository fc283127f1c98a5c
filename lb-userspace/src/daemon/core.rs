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
use crate::desired::{BackendState, Desired, States, desired};
use crate::health::{self, Checker, Health, Target};
use crate::model::{Admin, Backend, Config, Node, Service};
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
        let installed = Installed::empty(dataplane.tables().max_slots());
        let states = States::new();
        let checkers = HashMap::new();
        let mut core = Self { config, states, snapshot, installed, dataplane, checkers, health_events };
        core.states = core.states_for(&core.config);
        core.follow_checks();
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
        let desired = self.desired(&self.config, &self.states);
        self.install(&desired)
    }

    fn desired(&self, config: &Config, states: &States) -> Desired {
        desired(config, states, &self.snapshot.next_hops, self.node_macs())
    }

    fn install(&mut self, desired: &Desired) -> Result<(), reconcile::Error> {
        let plan = plan(&mut self.installed, desired)?;
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
        // The last word of a check that was stopped meanwhile is about nobody.
        if !self.checkers.contains_key(&event.target) {
            return;
        }
        let Target { service, backend, .. } = &event.target;
        let Some(state) = self.states.get_mut(service).and_then(|states| states.get_mut(backend)) else {
            return;
        };
        if state.health != Some(event.health) {
            let (backend, health) = (format!("{service}/{backend}"), event.health);
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
        // A name is only a name; everything else of a node takes part in loading and attaching.
        if config.node != (Node { name: config.node.name.clone(), ..self.config.node.clone() }) {
            return Err(api::Error::Conflict(
                "interfaces, xdp_mode, answer_neighbors, max_slots, max_flows, max_nat_flows and max_fragments of [node] \
                 take effect at start only: restart xlb to change them"
                    .to_owned(),
            ));
        }
        self.change(|current| *current = config)
    }

    /// Changes the configuration, or leaves everything as it is when the tables for the new one cannot be had.
    fn change(&mut self, change: impl FnOnce(&mut Config)) -> Result<(), api::Error> {
        let mut config = self.config.clone();
        change(&mut config);
        let states = self.states_for(&config);
        let desired = self.desired(&config, &states);
        self.install(&desired).map_err(|error| api::Error::Conflict(error.to_string()))?;
        self.config = config;
        self.states = states;
        self.follow_checks();
        Ok(())
    }

    /// The states that the backends of a configuration begin with. The operator's wish goes with the name; health goes with the
    /// server, which under a check that is new or has changed stays in the tables until a probe says otherwise.
    fn states_for(&self, config: &Config) -> States {
        let state = |service: &Service, backend: &Backend| {
            let known = self.known(&service.name, backend);
            let health = match (&service.check, known.map(|state| state.health)) {
                (None, _) => None,
                (Some(_), Some(Some(health))) => Some(health),
                (Some(_), Some(None)) => Some(Health::Up),
                (Some(_), None) => Some(Health::Unknown),
            };
            let detail = known.filter(|_| service.check.is_some()).map(|state| state.detail.clone());
            let by_name = self.states.get(&service.name).and_then(|states| states.get(&backend.name));
            let admin = by_name.map(|state| state.admin).unwrap_or_default();
            BackendState { health, detail: detail.unwrap_or_default(), admin }
        };
        let of_service = |service: &Service| {
            service.backends.iter().map(|backend| (backend.name.clone(), state(service, backend))).collect()
        };
        config.services.iter().map(|service| (service.name.clone(), of_service(service))).collect()
    }

    /// What is known of a backend, if it is the same server under the same name.
    fn known(&self, service: &str, backend: &Backend) -> Option<&BackendState> {
        let before = self.config.services.iter().find(|before| before.name == service)?;
        before.backends.iter().find(|one| one.name == backend.name && one.address == backend.address)?;
        self.states.get(service)?.get(&backend.name)
    }

    /// Starts the checks that the configuration has and that do not run, and stops the others.
    fn follow_checks(&mut self) {
        let mut running = std::mem::take(&mut self.checkers);
        for service in &self.config.services {
            for target in service.backends.iter().filter_map(|backend| target(service, backend)) {
                let checker = running
                    .remove(&target)
                    .unwrap_or_else(|| health::spawn(target.clone(), self.health_events.clone()));
                self.checkers.insert(target, checker);
            }
        }
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
    let port = check.port.unwrap_or(backend.port);
    Some(Target {
        service: service.name.clone(),
        backend: backend.name.clone(),
        address: SocketAddr::new(backend.address, port),
        check,
    })
}

#[cfg(test)]
mod tests;
