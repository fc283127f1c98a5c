//! The configuration that the rows meet: one backend for each service, so that a row knows where its packet goes.

use std::collections::HashMap;
use std::net::IpAddr;

use lb_common::abi::features::Features;
use lb_common::hash::FlowKey;
use lb_userspace::config::{Overrides, parse};
use lb_userspace::dataplane::Dataplane;
use lb_userspace::dataplane::kernel::{self, Kernel};
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::tables::Sizes;
use lb_userspace::desired::{BackendState, ServiceKey, States, desired, server};
use lb_userspace::model::{Config, Service};
use lb_userspace::neighbor::{NextHop, Resolution};
use lb_userspace::reconcile::{Installed, InstalledService, plan};

use super::frame::NODE_MAC;

/// Interface that test runs come in on: `lo`.
pub const INGRESS: u32 = 1;
/// Interface that is not the ingress one.
pub const ELSEWHERE: u32 = 9;
/// Next hop of every backend.
pub const NEXT_HOP_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
/// MAC that the node sends from.
pub const EGRESS_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x11];

const SLOTS: u32 = 1 << 17;

const CONFIG: &str = r#"
[node]
name = "rows"
interfaces = ["lo"]

[[service]]
name = "web4"
address = "192.0.2.10"
port = 80
protocol = "tcp"
mode = "dsr"
backend = [{ name = "one", address = "10.0.0.11" }]

[[service]]
name = "dns4"
address = "192.0.2.10"
port = 53
protocol = "udp"
mode = "dsr"
backend = [{ name = "one", address = "10.0.0.53" }]

[[service]]
name = "web6"
address = "2001:db8::10"
port = 80
protocol = "tcp"
mode = "dsr"
backend = [{ name = "one", address = "fd00::11" }]

[[service]]
name = "tunnel4"
address = "192.0.2.20"
port = 80
protocol = "tcp"
mode = "ipip"
backend = [{ name = "one", address = "10.0.0.21" }]

[[service]]
name = "tunnel6"
address = "2001:db8::20"
port = 80
protocol = "tcp"
mode = "ipip"
backend = [{ name = "one", address = "fd00::21" }]

[[service]]
name = "spread4"
address = "192.0.2.50"
port = 80
protocol = "tcp"
mode = "ipip"
encap_source = "172.16.0.0/16"
backend = [{ name = "one", address = "10.0.0.51" }]

[[service]]
name = "tunnel46"
address = "192.0.2.21"
port = 80
protocol = "tcp"
mode = "ipip"
backend = [{ name = "one", address = "fd00::22" }]

[[service]]
name = "tunnel64"
address = "2001:db8::21"
port = 80
protocol = "tcp"
mode = "ipip"
backend = [{ name = "one", address = "10.0.0.22" }]

[[service]]
name = "gue4"
address = "192.0.2.60"
port = 80
protocol = "tcp"
mode = "gue"
backend = [{ name = "one", address = "10.0.0.61" }]

[[service]]
name = "gue6"
address = "2001:db8::60"
port = 80
protocol = "tcp"
mode = "gue"
gue_port = 6081
backend = [{ name = "one", address = "fd00::61" }]

[[service]]
name = "gue46"
address = "192.0.2.61"
port = 80
protocol = "tcp"
mode = "gue"
backend = [{ name = "one", address = "fd00::62" }]

[[service]]
name = "guedns46"
address = "192.0.2.61"
port = 53
protocol = "udp"
mode = "gue"
backend = [{ name = "one", address = "fd00::62" }]

[[service]]
name = "nat4"
address = "192.0.2.70"
port = 80
protocol = "tcp"
mode = "nat"
backend = [{ name = "one", address = "10.0.0.71", port = 8080 }]

[[service]]
name = "natdns4"
address = "192.0.2.70"
port = 53
protocol = "udp"
mode = "nat"
backend = [{ name = "one", address = "10.0.0.71", port = 5353 }]

[[service]]
name = "nat6"
address = "2001:db8::70"
port = 80
protocol = "tcp"
mode = "nat"
backend = [{ name = "one", address = "fd00::71", port = 8080 }]

[[service]]
name = "fullnat4"
address = "192.0.2.80"
port = 80
protocol = "tcp"
mode = "fullnat"
source_addresses = ["10.0.0.200"]
backend = [{ name = "one", address = "10.0.0.81", port = 8080 }]

[[service]]
name = "closed4"
address = "192.0.2.90"
port = 80
protocol = "tcp"
mode = "dsr"
allow = ["198.51.100.0/24"]
deny = ["198.51.100.128/25", "203.0.113.0/24"]
backend = [{ name = "one", address = "10.0.0.91" }]

[[service]]
name = "open6"
address = "2001:db8::90"
port = 80
protocol = "tcp"
mode = "dsr"
deny = ["2001:db8:bad::/48"]
backend = [{ name = "one", address = "fd00::91" }]

[[service]]
name = "empty"
address = "192.0.2.30"
port = 80
protocol = "tcp"
mode = "dsr"

[[service]]
name = "limited"
address = "192.0.2.35"
port = 80
protocol = "tcp"
mode = "dsr"
rate_limit = "1000000/s"
rate_burst = 1000000
backend = [{ name = "one", address = "10.0.0.36" }]

[[service]]
name = "far"
address = "192.0.2.40"
port = 80
protocol = "tcp"
mode = "dsr"
backend = [{ name = "one", address = "10.0.0.41" }]
"#;

/// A data plane with the rows' tables, and who is who in them.
pub struct World<D> {
    /// The data plane.
    pub dataplane: D,
    config: Config,
    installed: Installed,
}

/// A key like any other.
#[must_use]
pub fn flow_key() -> FlowKey {
    FlowKey::from_secret(*b"rows and bench!!")
}

/// Tables that the rows fit in.
pub const SIZES: Sizes = Sizes { slots: SLOTS, flows: 1 << 12, fragments: 1 << 9, connections: 1 << 10 };

/// Options for a kernel data plane that the rows fit in.
#[must_use]
pub fn options() -> kernel::Options {
    kernel::Options { sizes: SIZES, trace_drops: false, features: Features::ALL, flow_key: flow_key() }
}

impl World<Memory> {
    /// In the host's memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::install(Memory::new(&SIZES, flow_key()).expect("there is memory for small tables"))
    }
}

impl World<Kernel> {
    /// In the kernel.
    ///
    /// # Errors
    /// When the program does not load.
    pub fn in_kernel() -> Result<Self, kernel::Error> {
        Self::in_kernel_with(Features::NONE)
    }

    /// The same for a program that can do something besides.
    ///
    /// # Errors
    /// As [`Self::in_kernel`].
    pub fn in_kernel_with(more: Features) -> Result<Self, kernel::Error> {
        let options = options();
        Kernel::load(&kernel::Options { features: options.features.with(more), ..options }).map(Self::install)
    }
}

impl<D: Dataplane> World<D> {
    fn install(mut dataplane: D) -> Self {
        let config = parse("rows.toml", CONFIG, &Overrides::default())
            .expect("the rows' configuration is valid")
            .config;
        let mut states = States::new();
        let mut next_hops: HashMap<IpAddr, Resolution> = HashMap::new();
        for service in &config.services {
            for backend in &service.backends {
                let far = service.name == "far";
                let of_service = states.entry(service.name.clone()).or_default();
                of_service.insert(backend.name.clone(), BackendState::default());
                next_hops.insert(
                    backend.address,
                    Ok(next_hop(backend.address, if far { ELSEWHERE } else { INGRESS })),
                );
            }
        }
        let mut installed = Installed::empty(dataplane.tables().max_slots());
        let desired = desired(&config, &states, &next_hops, vec![(INGRESS, NODE_MAC)]);
        let plan = plan(&mut installed, &desired, 1).expect("the rows' tables fit");
        plan.apply(&mut dataplane, &mut installed).expect("the rows' tables are written");
        Self { dataplane, config, installed }
    }

    /// Counters of the backends of all services.
    #[must_use]
    pub fn backend_counters(&self) -> Vec<u32> {
        let names = self.config.services.iter().filter(|service| !service.backends.is_empty());
        names.map(|service| self.backend_counter(&service.name)).collect()
    }

    fn service(&self, name: &str) -> (&Service, &InstalledService) {
        let service = self.config.services.iter().find(|s| s.name == name).expect("a row names a service");
        let key = ServiceKey { address: service.address, port: service.port, protocol: service.protocol };
        (service, self.installed.service(&key).expect("every service is installed"))
    }

    /// First slot of a service.
    #[must_use]
    pub fn slots_base(&self, service: &str) -> u32 {
        self.service(service).1.slots_base()
    }

    /// Index of the counter of a service's backend.
    #[must_use]
    pub fn backend_counter(&self, service: &str) -> u32 {
        let (service, installed) = self.service(service);
        let id = installed
            .backend(server(service.mode, &service.backends[0]))
            .expect("every backend has a next hop");
        lb_common::abi::counters::of_backend(id)
    }
}

fn next_hop(backend: IpAddr, interface_index: u32) -> NextHop {
    let source = match backend {
        IpAddr::V4(_) => "10.0.0.1",
        IpAddr::V6(_) => "fd00::1",
    };
    NextHop {
        interface: "lo".to_owned(),
        interface_index,
        gateway: None,
        mac: NEXT_HOP_MAC,
        source_mac: EGRESS_MAC,
        source_address: source.parse().expect("an address"),
        mtu_bytes: 1500,
    }
}
