//! The state of the node, and what each event does to it.
//!
//! No sockets, no timers: events come in, tables change, answers go out. Over `dataplane::memory` the same code runs in tests.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use lb_common::abi::backend::BackendId;
use lb_common::abi::connection::{Connection, seen};
use lb_common::abi::features::Features;
use lb_common::reason::Event;

use tokio::sync::mpsc;

use super::{Identity, capture, explain, report};
use crate::api::{self, Request};
use crate::config;
use crate::dataplane::Dataplane;
use crate::dataplane::captured::Capturing;
use crate::dataplane::dry_run::DryRun;
use crate::desired::{self, BackendState, Desired, ServiceKey, States, desired};
use crate::health::{self, Checker, Health, Target};
use crate::model::{Admin, Backend, Config, Mode, Service, Tracking};
use crate::neighbor::Snapshot;
use crate::reconcile::{self, Installed, Plan, Sweep, plan, settle, sweep};

/// Everything the core loop knows.
pub(crate) struct Core<D> {
    pub(super) config: Config,
    pub(super) states: States,
    pub(super) snapshot: Snapshot,
    pub(super) installed: Installed,
    pub(super) dataplane: D,
    /// Backends that are deleted and still have flows, by service: they get no new ones, and go when the last one ends.
    pub(super) leaving: HashMap<String, Vec<Backend>>,
    /// What the last look at the flow table has found.
    pub(super) swept: Sweep,
    /// The capture that is under way.
    pub(super) capture: Option<capture::Running>,
    /// Flows that were not remembered for want of room, and the second at which there was one more of them.
    refused: (u64, u64),
    clock: Clock,
    checkers: HashMap<Target, Checker>,
    health_events: mpsc::Sender<health::Event>,
}

/// Seconds since some moment, never going back; tests turn it by hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
    /// Seconds added.
    pub(super) ahead: u64,
}

impl Clock {
    /// Begins at a second that no age can be taken for vacant at.
    fn new() -> Self {
        Self { started: Instant::now(), ahead: 1 }
    }

    pub(super) fn seconds(self) -> u64 {
        self.started.elapsed().as_secs() + self.ahead
    }
}

/// The addresses of all backends.
pub(super) fn addresses(config: &Config) -> BTreeSet<IpAddr> {
    config.services.iter().flat_map(|service| &service.backends).map(|backend| backend.address).collect()
}

/// The configuration with the backends that are leaving, which take no new flows.
fn with_leaving(config: &Config, leaving: &HashMap<String, Vec<Backend>>) -> Config {
    let mut config = config.clone();
    for service in &mut config.services {
        let gone = leaving.get(&service.name).into_iter().flatten();
        service.backends.extend(gone.map(|backend| Backend { weight: 0, ..backend.clone() }));
    }
    config
}

/// What tells a service from the others.
pub(super) fn key(service: &Service) -> ServiceKey {
    ServiceKey { address: service.address, port: service.port, protocol: service.protocol }
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
        let mut core = Self {
            config,
            states,
            snapshot,
            installed,
            dataplane,
            leaving: HashMap::new(),
            swept: Sweep::default(),
            capture: None,
            refused: (0, 0),
            clock: Clock::new(),
            checkers,
            health_events,
        };
        core.states = core.states_for(&core.config);
        core.follow_checks();
        core
    }

    /// Seconds on the clock that flows age by.
    pub(super) fn seconds(&self) -> u64 {
        self.clock.seconds()
    }

    /// Whose id it is, and whether that backend is leaving.
    pub(super) fn owner(&self, id: BackendId) -> Option<(&Service, &Backend, bool)> {
        self.config.services.iter().find_map(|service| {
            let installed = self.installed.service(&key(service))?;
            let leaving = self.leaving.get(&service.name).into_iter().flatten();
            let all = service.backends.iter().map(|one| (one, false)).chain(leaving.map(|one| (one, true)));
            let is_it = |(one, _): &(&Backend, bool)| {
                installed.backend(desired::server(service.mode, one)) == Some(id)
            };
            all.into_iter().find(is_it).map(|(backend, leaving)| (service, backend, leaving))
        })
    }

    /// Name of an interface.
    pub(super) fn interface_name(&self, index: u32) -> String {
        let known = self.snapshot.interfaces.get(&index);
        known.map_or_else(|| format!("interface {index}"), |interface| interface.name.clone())
    }

    /// For what is done once around the loop: attaching.
    pub(super) fn dataplane_mut(&mut self) -> &mut D {
        &mut self.dataplane
    }

    /// The addresses that have to be resolved.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        addresses(&with_leaving(&self.config, &self.leaving))
    }

    /// Makes the tables what they should be.
    ///
    /// # Errors
    /// When that cannot be had; the tables stay as they are.
    pub(super) fn reconcile(&mut self) -> Result<(), reconcile::Error> {
        let desired = self.desired(&self.config, &self.states, &self.leaving);
        self.install(&desired)
    }

    fn desired(&self, config: &Config, states: &States, leaving: &HashMap<String, Vec<Backend>>) -> Desired {
        let config = with_leaving(config, leaving);
        desired(&config, states, &self.snapshot.next_hops, self.node_interfaces())
    }

    fn install(&mut self, desired: &Desired) -> Result<(), reconcile::Error> {
        let plan = plan(&mut self.installed, desired, self.clock.seconds())?;
        self.apply(plan);
        Ok(())
    }

    fn apply(&mut self, plan: Plan) {
        let (steps, slots) = (plan.steps().len(), plan.slots_written());
        if let Err(error) = plan.apply(&mut self.dataplane, &mut self.installed) {
            tracing::warn!(%error, "the kernel has not taken a list, a server ID or a counter");
        }
        if steps > 0 {
            tracing::debug!(steps, slots, "tables changed");
        }
    }

    /// Index and MAC address of the interfaces the program is attached to.
    fn node_interfaces(&self) -> Vec<(u32, [u8; 6])> {
        let names = &self.config.node.interfaces;
        let of = |name: &String| {
            let (index, interface) = self.snapshot.interfaces.iter().find(|(_, i)| i.name == *name)?;
            Some((*index, interface.mac?))
        };
        names.iter().filter_map(of).collect()
    }

    /// A second has gone by: flows end, slots settle, deleted backends without flows go.
    ///
    /// # Errors
    /// When the tables for that cannot be had.
    pub(super) fn on_tick(&mut self) -> Result<(), reconcile::Error> {
        let now = self.clock.seconds();
        // The program sees ages in the last 16 bits.
        self.dataplane.set_tick(u32::try_from(now & u64::from(u32::MAX)).unwrap_or_default());
        let refused = self.dataplane.happened(Event::FlowRefused).unwrap_or(self.refused.0);
        if refused != self.refused.0 {
            self.refused = (refused, now);
        }
        self.swept = sweep::sweep(self.dataplane.tables(), &self.installed.owners(), now);
        let plan = settle(&mut self.installed, &self.swept, self.refused.1, now)?;
        if !plan.steps().is_empty() {
            self.apply(plan);
        }
        self.sweep_connections(now);
        capture::end_if_forgotten(self);
        self.see_off()
    }

    /// Lets deleted backends go that have no flows any more.
    fn see_off(&mut self) -> Result<(), reconcile::Error> {
        let mut left = self.leaving.clone();
        for (name, backends) in &mut left {
            let service = self.config.services.iter().find(|service| service.name == *name);
            backends.retain(|backend| service.is_some_and(|service| self.has_flows(service, backend)));
        }
        left.retain(|_, backends| !backends.is_empty());
        if left == self.leaving {
            return Ok(());
        }
        for (service, backends) in std::mem::replace(&mut self.leaving, left) {
            let stay = self.leaving.get(&service);
            for backend in backends.iter().filter(|one| !stay.is_some_and(|stay| stay.contains(one))) {
                tracing::info!(
                    backend = format!("{service}/{}", backend.name),
                    "deleted backend has no flows any more"
                );
            }
        }
        self.follow_checks();
        self.reconcile()
    }

    /// Whether a backend has flows, or could have some that are not known yet.
    fn has_flows(&self, service: &Service, backend: &Backend) -> bool {
        let Some(installed) = self.installed.service(&key(service)) else { return false };
        let Some(id) = installed.backend(desired::server(service.mode, backend)) else { return false };
        if service.mode == Mode::Fullnat && self.dataplane.connections() > 0 {
            return true;
        }
        installed.names(id) || self.flows_of(id) > 0
    }

    /// Remembered flows of a backend.
    pub(super) fn flows_of(&self, id: BackendId) -> u64 {
        self.swept.flows.get(&id).copied().unwrap_or_default()
    }

    /// Forgets connections of mode `fullnat` that are over. Everything they need to be judged by goes along: it happens beside
    /// the loop.
    fn sweep_connections(&mut self, now: u64) {
        /// A connection that was reset, or closed by both, may still have packets under way.
        const CLOSED_SECONDS: u64 = 10;
        /// One that was closed by one side waits for the other (RFC 5382, REQ-5, asks four minutes of NATs that guess).
        const CLOSING_SECONDS: u64 = 240;
        /// One whose client has sent nothing but a SYN.
        const OPENING_SECONDS: u64 = 30;
        if !self.config.services.iter().any(|service| service.mode == Mode::Fullnat) {
            return;
        }
        let owners = self.installed.owners();
        let idle: Vec<Option<u64>> =
            owners.iter().map(|owner| owner.as_ref().and_then(reconcile::Owner::live_idle_seconds)).collect();
        drop(owners);
        self.dataplane.sweep_connections(Box::new(
            move |client: &Connection, backend: Option<&Connection>| {
                let Some(backend) = backend else { return true };
                let Some(idle) = idle.get(usize::from(client.backend)).copied().flatten() else {
                    return true;
                };
                let last = client.last_seen.max(backend.last_seen);
                let all = client.seen | backend.seen;
                let limit = if all & seen::RST != 0 || client.seen & backend.seen & seen::FIN != 0 {
                    CLOSED_SECONDS
                } else if all & seen::FIN != 0 {
                    CLOSING_SECONDS.min(idle)
                } else if client.out.protocol == lb_common::parse::protocol::TCP
                    && client.seen & seen::DATA == 0
                {
                    OPENING_SECONDS.min(idle)
                } else {
                    idle
                };
                now.saturating_sub(u64::from(last)) > limit
            },
        ));
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
    pub(super) fn on_request(&mut self, request: Request, identity: &Identity)
    where
        D: Capturing + DryRun,
    {
        match request {
            Request::Status { reply } => answer(reply, report::status(self, identity)),
            Request::Services { reply } => answer(reply, report::services(self)),
            Request::Backends { service, reply } => answer(reply, report::backends(self, service.as_deref())),
            Request::Explain { question, reply } => answer(reply, explain::explain(self, &question)),
            Request::BeginCapture { wanted, reply } => answer(reply, capture::begin(self, &wanted)),
            Request::Captures { reply } => answer(reply, capture::read(self)),
            Request::EndCapture { reply } => answer(reply, capture::end(self)),
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
        let at_start = |config: &Config| {
            let node = &config.node;
            let sizes = (node.max_slots, node.max_flows, node.max_nat_flows, node.max_fragments);
            (node.interfaces.clone(), node.xdp_mode, sizes)
        };
        if at_start(&config) != at_start(&self.config) {
            return Err(api::Error::Conflict(
                "interfaces, xdp_mode, max_slots, max_flows, max_nat_flows and max_fragments of [node] take effect at start \
                 only: restart xlb to change them"
                    .to_owned(),
            ));
        }
        self.change(|current| *current = config)
    }

    /// What the program has to be able to do now.
    fn features(&self) -> Features {
        desired::features(&self.config).with(capture::feature(self.capture.as_ref()))
    }

    /// Makes the program one that can do that.
    ///
    /// # Errors
    /// When it does not load; the one before stays.
    pub(super) fn follow_features(&mut self) -> std::io::Result<()> {
        let features = self.features();
        self.dataplane.set_features(features)
    }

    /// Changes the configuration, or leaves everything as it is when the tables for the new one cannot be had.
    fn change(&mut self, change: impl FnOnce(&mut Config)) -> Result<(), api::Error> {
        let mut config = self.config.clone();
        change(&mut config);
        let leaving = self.leaving_after(&config);
        let states = self.states_for(&with_leaving(&config, &leaving));
        let desired = self.desired(&config, &states, &leaving);
        let conflict = |error: &dyn std::fmt::Display| api::Error::Conflict(error.to_string());
        // What the new configuration needs the program must be able to do before it is asked to; what it does not need any more
        // goes at the end.
        let capture = capture::feature(self.capture.as_ref());
        let (before, after) = (self.features(), desired::features(&config).with(capture));
        self.dataplane.set_features(before.with(after)).map_err(|error| conflict(&error))?;
        if let Err(error) = self.install(&desired) {
            // The program before did everything that the configuration before needs.
            let _ = self.dataplane.set_features(before);
            return Err(conflict(&error));
        }
        if let Err(error) = self.dataplane.set_features(after) {
            tracing::warn!(%error, "the program goes on being able to do what is not needed any more");
        }
        self.config = config;
        self.states = states;
        self.leaving = leaving;
        self.follow_checks();
        Ok(())
    }

    /// The backends that are leaving once `config` is in effect: those that it lacks, and that have flows.
    fn leaving_after(&self, config: &Config) -> HashMap<String, Vec<Backend>> {
        let mut leaving = HashMap::new();
        for before in &self.config.services {
            // A service of another kind is another service.
            let same = |after: &&Service| {
                after.name == before.name && key(after) == key(before) && after.mode == before.mode
            };
            let Some(after) = config.services.iter().find(same) else { continue };
            let server = |backend: &Backend| desired::server(before.mode, backend);
            let already = self.leaving.get(&before.name).into_iter().flatten();
            let gone: Vec<Backend> = before
                .backends
                .iter()
                .chain(already)
                .filter(|one| !after.backends.iter().any(|other| server(other) == server(one)))
                // A name that is taken again is another backend's.
                .filter(|one| !after.backends.iter().any(|other| other.name == one.name))
                .filter(|one| after.tracking != Tracking::Off && self.has_flows(before, one))
                .cloned()
                .collect();
            if !gone.is_empty() {
                leaving.insert(before.name.clone(), gone);
            }
        }
        leaving
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
        let known = before.backends.iter().chain(self.leaving.get(service).into_iter().flatten());
        known.into_iter().find(|one| {
            (&one.name, one.address, one.port) == (&backend.name, backend.address, backend.port)
        })?;
        self.states.get(service)?.get(&backend.name)
    }

    /// Starts the checks that the configuration has and that do not run, and stops the others.
    fn follow_checks(&mut self) {
        let mut running = std::mem::take(&mut self.checkers);
        for service in &with_leaving(&self.config, &self.leaving).services {
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
