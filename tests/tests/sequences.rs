//! Random histories of backends and flows, against a model: no live flow that sends at least once per idle timeout ever moves off
//! a living backend, and when nothing changes any more nothing is remembered. On the host, and through the loaded program.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use lb_common::abi::counters;
use lb_common::abi::features::Features;
use lb_common::reason::Event;
use lb_userspace::config::{Overrides, parse};
use lb_userspace::dataplane::Dataplane;
use lb_userspace::dataplane::kernel::{self, Kernel};
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::tables::Sizes;
use lb_userspace::desired::{BackendState, ServiceKey, States, desired, server};
use lb_userspace::health::Health;
use lb_userspace::model::{Admin, Backend, Config, Service};
use lb_userspace::neighbor::{NextHop, Resolution};
use lb_userspace::reconcile::{Installed, plan, settle, sweep};
use libtest_mimic::{Failed, Trial};
use xlb_tests::packets::frame::{ACK, NODE_MAC, SYN, TCP, UDP, tcp_with, to_node, udp, v4};
use xlb_tests::packets::fuzz::Random;
use xlb_tests::packets::world::{INGRESS, flow_key};
use xlb_tests::requirement;

/// Seconds after which a flow that is silent has ended.
const IDLE_SECONDS: u64 = 60;
/// Flows that live at once.
const FLOWS: usize = 2000;
/// Backends that a service can have; more than ten make its table grow.
const BACKENDS: u8 = 14;
const SIZES: Sizes = Sizes { slots: 1 << 14, flows: 1 << 16, fragments: 8, connections: 8 };
/// A TCP service that tracks changes, and a UDP service that remembers every flow.
const CONFIG: &str = r#"
[node]
name = "model"
interfaces = ["lo"]
[[service]]
name = "web"
address = "192.0.2.10"
port = 80
protocol = "tcp"
mode = "dsr"
idle_timeout = "60s"
[[service]]
name = "dns"
address = "192.0.2.10"
port = 53
protocol = "udp"
mode = "dsr"
idle_timeout = "60s"
"#;

fn main() -> ExitCode {
    let missing = requirement::root();
    let host = (1..=20).map(|seed| {
        Trial::test(format!("host::history-{seed}"), move || {
            told(seed, || Model::new(Memory::new(&SIZES, flow_key())?)?.live(seed, 60))
        })
    });
    let host_status = requirement::run(&None, host.collect());
    let kernel = (21..=24).map(|seed| {
        Trial::test(format!("kernel::history-{seed}"), move || {
            let options = kernel::Options {
                sizes: SIZES,
                trace_drops: false,
                features: Features::TRACKING,
                flow_key: flow_key(),
            };
            told(seed, || Model::new(Kernel::load(&options)?)?.live(seed, 60))
        })
    });
    let kernel_status = requirement::run(&missing, kernel.collect());
    if host_status == ExitCode::SUCCESS { kernel_status } else { host_status }
}

fn told(seed: u64, history: impl FnOnce() -> Result<()>) -> Result<(), Failed> {
    history().with_context(|| format!("history of seed {seed}")).map_err(|error| format!("{error:#}").into())
}

/// A data plane that packets can be sent through.
trait Plane: Dataplane {
    /// The frame that comes out, if one does.
    fn send(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>>;
}

impl Plane for Memory {
    fn send(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>> {
        use lb_userspace::dataplane::host::Fate;
        let outcome = self.run(frame);
        Ok(matches!(outcome.fate, Fate::Send(_)).then_some(outcome.frame))
    }
}

impl Plane for Kernel {
    fn send(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>> {
        use xlb_tests::packets::rows::action;
        let result = self.test_run(frame, 1)?;
        Ok((result.action == action::TX).then_some(result.frame))
    }
}

/// A flow that has begun.
#[derive(Clone, Copy, Debug)]
struct Flow {
    number: u32,
    backend: u8,
    sent: u64,
    ends: u64,
}

struct Model<P> {
    plane: P,
    installed: Installed,
    config: Config,
    states: States,
    next_hops: HashMap<IpAddr, Resolution>,
    /// Deleted backends that may have flows, by service.
    leaving: [Vec<Backend>; 2],
    flows: [Vec<Flow>; 2],
    begun: u32,
    now: u64,
    refused: (u64, u64),
}

impl<P: Plane> Model<P> {
    fn new(plane: P) -> Result<Self> {
        let config = parse("model.toml", CONFIG, &Overrides::default()).expect("it is valid").config;
        let installed = Installed::empty(SIZES.slots);
        let next_hops = (0..BACKENDS).map(|number| (address(number), Ok(next_hop(number)))).collect();
        let mut model = Self {
            plane,
            installed,
            config,
            states: States::new(),
            next_hops,
            leaving: [Vec::new(), Vec::new()],
            flows: [Vec::new(), Vec::new()],
            begun: 0,
            now: 1,
            refused: (0, 0),
        };
        for service in [0, 1] {
            (0..3).for_each(|number| model.add(service, number));
        }
        model.plane.set_tick(1);
        model.follow()?;
        Ok(model)
    }

    /// Changes, packets and time for so many steps, and quiet after that.
    fn live(mut self, seed: u64, steps: u32) -> Result<()> {
        let mut random = Random::new(seed);
        for step in 0..steps {
            self.step(&mut random).with_context(|| format!("step {step}, second {}", self.now))?;
        }
        self.come_to_rest()
    }

    fn step(&mut self, random: &mut Random) -> Result<()> {
        for _ in 0..random.below(4) {
            let what = self.change(random);
            self.follow().context(what.clone())?;
            // Somebody sends right after each change.
            self.send_some(random, 50).context(what)?;
        }
        let seconds = 1 + random.below(25) as u64;
        for _ in 0..seconds {
            self.now += 1;
            self.tick()?;
            self.keep_alive()?;
            self.send_some(random, 20)?;
        }
        Ok(())
    }

    /// Changes something about one backend, and tells what.
    fn change(&mut self, random: &mut Random) -> String {
        let (service, number) =
            (random.below(2), u8::try_from(random.below(usize::from(BACKENDS))).unwrap_or(0));
        let names = ["web", "dns"];
        let known = self.config.services[service].backends.iter().any(|backend| backend.name == name(number));
        let what = match (known, random.below(6)) {
            (false, _) => {
                self.add(service, number);
                "add"
            }
            (true, 0) => {
                self.delete(service, number);
                "delete"
            }
            (true, 1) => {
                self.state(service, number).admin = Admin::Drain;
                "drain"
            }
            (true, 2) => {
                self.state(service, number).admin = Admin::Ready;
                "ready"
            }
            (true, 3) => {
                self.state(service, number).health = Some(Health::Down);
                // Its flows go with it: they are other flows from now on.
                self.flows[service].retain(|flow| flow.backend != number);
                "down"
            }
            (true, 4) => {
                self.state(service, number).health = Some(Health::Up);
                "up"
            }
            (true, _) => {
                let weight = u16::try_from(random.below(4)).unwrap_or(1);
                for backend in &mut self.config.services[service].backends {
                    if backend.name == name(number) {
                        backend.weight = weight;
                    }
                }
                "weight"
            }
        };
        format!("{what} {}/{}", names[service], name(number))
    }

    fn add(&mut self, service: usize, number: u8) {
        let of = &mut self.config.services[service];
        of.backends.push(Backend {
            name: name(number),
            address: address(number),
            port: of.port,
            server_id: None,
            weight: 1,
        });
        self.leaving[service].retain(|backend| backend.name != name(number));
        let up = BackendState { health: Some(Health::Up), ..BackendState::default() };
        let of = self.states.entry(of.name.clone()).or_default();
        if let Some(state) = of.get_mut(&name(number)) {
            state.admin = Admin::Ready;
        } else {
            of.insert(name(number), up);
        }
    }

    fn delete(&mut self, service: usize, number: u8) {
        let backends = &mut self.config.services[service].backends;
        let gone = backends.iter().position(|backend| backend.name == name(number)).expect("it is there");
        let gone = backends.remove(gone);
        self.leaving[service].push(gone);
    }

    fn state(&mut self, service: usize, number: u8) -> &mut BackendState {
        let service = &self.config.services[service].name;
        self.states.get_mut(service).and_then(|of| of.get_mut(&name(number))).expect("it has a state")
    }

    /// Makes the tables what they should be.
    fn follow(&mut self) -> Result<()> {
        let mut config = self.config.clone();
        for (service, leaving) in config.services.iter_mut().zip(&self.leaving) {
            service.backends.extend(leaving.iter().map(|one| Backend { weight: 0, ..one.clone() }));
        }
        let interfaces = vec![(INGRESS, NODE_MAC)];
        let desired = desired(&config, &self.states, &self.next_hops, interfaces);
        plan(&mut self.installed, &desired, self.now)?.apply(&mut self.plane, &mut self.installed)?;
        Ok(())
    }

    /// A second has gone by; as the daemon's core does.
    fn tick(&mut self) -> Result<()> {
        self.plane.set_tick(u32::try_from(self.now)?);
        let refused = self.plane.counter(counters::of_event(Event::FlowRefused))?.packets;
        if refused != self.refused.0 {
            self.refused = (refused, self.now);
        }
        let swept = sweep::sweep(self.plane.tables(), &self.installed.owners(), self.now);
        let plan = settle(&mut self.installed, &swept, self.refused.1, self.now)?;
        plan.apply(&mut self.plane, &mut self.installed)?;
        let before: usize = self.leaving.iter().map(Vec::len).sum();
        for (service, leaving) in self.config.services.iter().zip(&mut self.leaving) {
            let installed = self.installed.service(&key(service)).context("it is installed")?;
            leaving.retain(|backend| {
                let id = installed.backend(server(service.mode, backend));
                id.is_some_and(|id| installed.names(id) || swept.flows.contains_key(&id))
            });
        }
        if self.leaving.iter().map(Vec::len).sum::<usize>() != before { self.follow() } else { Ok(()) }
    }

    /// Every flow that would have been silent for too long sends; those whose time is over have ended.
    fn keep_alive(&mut self) -> Result<()> {
        for service in [0, 1] {
            let now = self.now;
            self.flows[service].retain(|flow| flow.ends > now);
            for at in 0..self.flows[service].len() {
                if now - self.flows[service][at].sent >= IDLE_SECONDS - 1 {
                    self.send(service, at)?;
                }
            }
        }
        Ok(())
    }

    /// Some flows begin, some go on.
    fn send_some(&mut self, random: &mut Random, count: usize) -> Result<()> {
        for _ in 0..count {
            let service = random.below(2);
            if self.flows[service].len() < FLOWS / 2 && random.below(2) == 0 {
                // Many are short, some are long.
                let life = if random.below(3) == 0 { 1000 } else { 40 };
                self.begin(service, 1 + random.below(life) as u64)?;
            } else if !self.flows[service].is_empty() {
                let at = random.below(self.flows[service].len());
                self.send(service, at)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, service: usize, life: u64) -> Result<()> {
        self.begun += 1;
        let number = self.begun;
        let takers = self.takers(service);
        match self.plane.send(&frame(service, number, true))? {
            None => ensure!(takers.is_empty(), "flow {number} begins nowhere; {takers:?} could take it"),
            Some(frame) => {
                let backend = frame[5];
                ensure!(
                    takers.contains(&backend),
                    "flow {number} begins at {backend}; only {takers:?} could take it"
                );
                let (sent, ends) = (self.now, self.now + life);
                self.flows[service].push(Flow { number, backend, sent, ends });
            }
        }
        Ok(())
    }

    fn send(&mut self, service: usize, at: usize) -> Result<()> {
        let flow = &mut self.flows[service][at];
        flow.sent = self.now;
        let Flow { number, backend, .. } = *flow;
        match self.plane.send(&frame(service, number, false))? {
            Some(frame) if frame[5] == backend => Ok(()),
            Some(frame) => bail!("flow {number} was at {backend} and is at {} now", frame[5]),
            None => bail!("flow {number} at {backend} was dropped"),
        }
    }

    /// Backends that may get new flows.
    fn takers(&self, service: usize) -> Vec<u8> {
        let service = &self.config.services[service];
        let states = &self.states[&service.name];
        let takes = |backend: &&Backend| backend.weight > 0 && states[&backend.name].allows_traffic();
        service.backends.iter().filter(takes).filter_map(|backend| number(&backend.name)).collect()
    }

    /// Flows end, nothing changes: slots settle, nothing of the TCP service is remembered, nobody is leaving.
    fn come_to_rest(&mut self) -> Result<()> {
        for flows in &mut self.flows {
            flows.clear();
        }
        for _ in 0..2 * IDLE_SECONDS + 5 {
            self.now += 1;
            self.tick()?;
        }
        for service in &self.config.services {
            let installed = self.installed.service(&key(service)).context("it is installed")?;
            let counts = installed.slot_counts();
            ensure!(counts.tracked == 0, "{}: {} slots are tracked at rest", service.name, counts.tracked);
        }
        let mut remembered: BTreeMap<_, u64> = BTreeMap::new();
        self.plane
            .tables()
            .each_flow(|_, entry| *remembered.entry(entry.backend().map(|id| id.get())).or_default() += 1);
        ensure!(remembered.is_empty(), "remembered at rest, by backend id: {remembered:?}");
        ensure!(self.leaving.iter().all(Vec::is_empty), "leaving at rest: {:?}", self.leaving);
        Ok(())
    }
}

fn key(service: &Service) -> ServiceKey {
    ServiceKey { address: service.address, port: service.port, protocol: service.protocol }
}

fn name(number: u8) -> String {
    format!("b{number}")
}

fn number(name: &str) -> Option<u8> {
    name.strip_prefix('b')?.parse().ok()
}

fn address(number: u8) -> IpAddr {
    [10, 0, 1, number].into()
}

/// The next hop's MAC tells the backend.
fn next_hop(number: u8) -> NextHop {
    NextHop {
        interface: "lo".to_owned(),
        interface_index: INGRESS,
        gateway: None,
        mac: [2, 0, 0, 0, 9, number],
        source_mac: NODE_MAC,
        source_address: [10, 0, 0, 1].into(),
        mtu_bytes: 1500,
    }
}

/// A packet of a flow to the TCP service (0) or the UDP service (1).
fn frame(service: usize, flow: u32, first: bool) -> Vec<u8> {
    let [_, a, b, c] = flow.to_be_bytes();
    let (client, vip) = ([198, a, b, c], [192, 0, 2, 10]);
    to_node(&match service {
        0 => v4(client, vip, TCP).packet(&tcp_with(if first { SYN } else { ACK }, 40_000, 80, b"")),
        _ => v4(client, vip, UDP).packet(&udp(40_000, 53, b"a query")),
    })
}
