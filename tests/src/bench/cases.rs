//! What is timed: frames, the tables they meet, the programs they run through.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use lb_common::abi::features::Features;
use lb_userspace::config::{Overrides, parse};
use lb_userspace::dataplane::Dataplane;
use lb_userspace::dataplane::kernel::{self, Kernel};
use lb_userspace::dataplane::tables::Sizes;
use lb_userspace::desired::{BackendState, States, desired, features};
use lb_userspace::model::Config;
use lb_userspace::neighbor::{NextHop, Resolution};
use lb_userspace::reconcile::{Installed, plan};

use super::network::CLIENT;
use super::{Program, Subject};
use crate::packets::frame::{ACK, NODE_MAC, SYN, TCP, UDP, summed, tcp_with, to_node, udp, v4, v6};
use crate::packets::rows::action;
use crate::packets::world::{INGRESS, flow_key};
use crate::testbed::Testbed;

/// What a case is compared with; it undoes what the case undoes, and steps from flow to flow as the case does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Returns `XDP_TX` at once.
    Tx,
    /// Parses, grows the head, writes the outer header.
    Encap,
}

impl Floor {
    /// As the report calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tx => "xdp-tx",
            Self::Encap => "encap",
        }
    }
}

/// Something to time.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// As the report calls it.
    pub name: &'static str,
    /// How many different flows: 1, or 2^20 in an order of their own.
    pub flows: u32,
    /// What it is compared with.
    pub floor: Floor,
    /// The configuration's mode.
    mode: &'static str,
    frame: Frame,
    slots: Slots,
    /// Where four bytes begin that a run changes, counted from the beginning of the frame.
    changed: &'static [u32],
    action: u32,
    /// Whether the program can do everything, else what the configuration wants.
    everything: bool,
    /// Flows that there is room for.
    room: u32,
}

/// Flows of the cases that vary them.
pub const MANY_FLOWS: u32 = 1 << 20;
/// Room for so many that none is refused.
const ROOMY: u32 = 1 << 22;

/// How the slots of the service stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slots {
    Settled,
    /// Every one has just got another backend.
    Tracked,
}

/// What comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// Within a TCP connection to the service.
    V4,
    /// The same over IPv6.
    V6,
    /// To nobody here.
    Stranger,
    /// The first one of a connection.
    Syn,
    /// A datagram to the service.
    Datagram,
    /// From a backend.
    Reply,
    /// An ICMP echo to the VIP.
    Echo,
}

// Where words begin that programs change.
const MACS: [u32; 3] = [2, 6, 10];
const TTL: u32 = 22;
const SOURCE: u32 = 26;
const DESTINATION: u32 = 30;
const PORTS: u32 = 34;
const HOP_LIMIT: u32 = 18;

impl Case {
    const PLAIN: Self = Self {
        name: "dsr-v4",
        flows: 1,
        floor: Floor::Tx,
        mode: "dsr",
        frame: Frame::V4,
        slots: Slots::Settled,
        changed: &[TTL],
        action: action::TX,
        everything: false,
        room: ROOMY,
    };

    /// Every case.
    #[must_use]
    pub fn all() -> Vec<Self> {
        const HOP_V6: &[u32] = &[HOP_LIMIT];
        const BEHIND_V4: &[u32] = &[MACS[0], MACS[1], MACS[2], TTL];
        const BEHIND_V6: &[u32] = &[MACS[0], MACS[1], MACS[2], HOP_LIMIT];
        const TURNED: &[u32] = &[MACS[0], MACS[1], MACS[2], TTL, SOURCE, DESTINATION, PORTS];
        let plain = Self::PLAIN;
        let stranger =
            Self { name: "not-ours", frame: Frame::Stranger, changed: &[], action: action::PASS, ..plain };
        let ipip = Self { name: "ipip-v4", floor: Floor::Encap, mode: "ipip", changed: BEHIND_V4, ..plain };
        let ipip_v6 = Self { name: "ipip-v6", frame: Frame::V6, changed: BEHIND_V6, ..ipip };
        let both = [
            stranger,
            Self { name: "not-ours-of-all", everything: true, ..stranger },
            plain,
            Self { name: "dsr-v6", frame: Frame::V6, changed: HOP_V6, ..plain },
            ipip,
            ipip_v6,
            Self { name: "gue-v4", mode: "gue", ..ipip },
            Self { name: "gue-v6", mode: "gue", ..ipip_v6 },
            Self { name: "nat-v4", mode: "nat", changed: &[TTL, DESTINATION, PORTS], ..plain },
            Self { name: "dsr-v4-tracked", slots: Slots::Tracked, ..plain },
            Self { name: "ipip-v4-tracked", slots: Slots::Tracked, ..ipip },
            Self { name: "udp-v4-full", frame: Frame::Datagram, ..plain },
        ];
        // Their flows cannot be varied by the source address: connections would have to be opened, routes be there.
        let one = [
            Self {
                name: "nat-reply-v4",
                mode: "nat",
                frame: Frame::Reply,
                changed: &[TTL, SOURCE, PORTS],
                action: action::REDIRECT,
                ..plain
            },
            Self {
                name: "fullnat-v4",
                mode: "fullnat",
                changed: &[TTL, SOURCE, DESTINATION, PORTS],
                ..plain
            },
            Self { name: "echo-v4", frame: Frame::Echo, changed: TURNED, ..plain },
        ];
        // A flow comes back when the table has forgotten it, so every one is new.
        let new = Self {
            name: "syn-v4-tracked",
            frame: Frame::Syn,
            slots: Slots::Tracked,
            flows: MANY_FLOWS,
            room: MANY_FLOWS / 8,
            ..plain
        };
        let in_both = both.into_iter().flat_map(|case| [1, MANY_FLOWS].map(|flows| Self { flows, ..case }));
        in_both.chain(one).chain([new]).collect()
    }

    /// Whether every packet has to be of a new flow.
    pub(super) fn is_never_the_same(&self) -> bool {
        self.frame == Frame::Syn
    }

    /// What the run before has put in front, in bytes.
    fn head(&self) -> u8 {
        match (self.mode, self.frame) {
            ("ipip", Frame::V6) => 40,
            ("ipip", _) => 20,
            ("gue", Frame::V6) => 48,
            ("gue", _) => 28,
            _ => 0,
        }
    }

    fn config(&self) -> Config {
        let more = match self.mode {
            "fullnat" => "source_addresses = [\"10.0.0.200\"]\n",
            _ => "",
        };
        config(self.mode, if self.frame == Frame::Datagram { "udp" } else { "tcp" }, 100, more)
    }

    /// The program that undoes, and then runs production code, over the tables that it meets.
    pub(super) fn subject(&self) -> Result<Subject> {
        let config = self.config();
        let wanted = if self.everything { Features::ALL } else { features(&config) };
        let options =
            kernel::Options { sizes: Sizes { flows: self.room, ..SIZES }, features: wanted, ..options() };
        let testbed = crate::testbed::object()?;
        let mut kernel = self.with_constants("bench", |program, constants| {
            Ok(Kernel::load_program(&testbed, program, &options, constants)?)
        })?;
        kernel.set_tick(1);
        self.install(&mut kernel, &config)?;
        if self.mode == "fullnat" {
            // Opens the connection.
            let opened = kernel.test_run(&self.left_behind(Frame::Syn.bytes()), 1)?;
            anyhow::ensure!(opened.action == action::TX, "a connection cannot be opened: {}", opened.action);
        }
        let frame = self.left_behind(self.frame.bytes());
        Ok(Subject::new(Program::Balancer(Box::new(kernel)), frame, self.action))
    }

    /// The program that undoes and does as little as can be done.
    pub(super) fn floor_subject(&self) -> Result<Subject> {
        let prefix = match self.floor {
            Floor::Tx => "floor_tx",
            Floor::Encap => "floor_encap",
        };
        let floor = self.with_constants(prefix, Testbed::load)?;
        let frame = self.left_behind(self.frame.bytes());
        Ok(Subject::new(Program::Floor(Box::new(floor)), frame, action::TX))
    }

    /// The frame as the run before would have left it.
    fn left_behind(&self, frame: Vec<u8>) -> Vec<u8> {
        [vec![0; usize::from(self.head())], frame].concat()
    }

    fn with_constants<T>(
        &self,
        prefix: &str,
        load: impl FnOnce(&str, &[(&str, &[u8])]) -> Result<T>,
    ) -> Result<T> {
        /// Words that can be undone.
        const WORDS: usize = 19;
        let frame = self.frame.bytes();
        let mut original = [0; 4 * WORDS];
        let len = original.len().min(frame.len() - 2);
        original[..len].copy_from_slice(&frame[2..2 + len]);
        let undo = self.changed.iter().fold(0_u32, |mask, at| mask | 1 << ((at - 2) / 4));
        let constants: [(&str, &[u8]); 4] = [
            ("VARY_FLOW", &[u8::from(self.flows > 1)]),
            ("UNDO_HEAD", &[self.head()]),
            ("UNDO", &undo.to_ne_bytes()),
            ("ORIGINAL", &original),
        ];
        let family = if self.frame == Frame::V6 { "v6" } else { "v4" };
        load(&format!("{prefix}_{family}"), &constants)
    }

    fn install(&self, kernel: &mut Kernel, config: &Config) -> Result<()> {
        let mut installed = Installed::empty(MAX_SLOTS);
        let of_tracked = |second: bool| {
            let mut config = config.clone();
            for backends in config.services.iter_mut().map(|service| &mut service.backends) {
                let half = backends.len() / 2;
                for (number, backend) in backends.iter_mut().enumerate() {
                    backend.weight = u16::from((number >= half) == second);
                }
            }
            config
        };
        match self.slots {
            Slots::Settled => install(kernel, config, &mut installed),
            // One half of the backends, and then the other.
            Slots::Tracked => [false, true]
                .into_iter()
                .try_for_each(|second| install(kernel, &of_tracked(second), &mut installed)),
        }
    }
}

const VIP6: &str = "2001:db8::10";
const CLIENT6: &str = "2001:db8:1::7";

impl Frame {
    fn bytes(self) -> Vec<u8> {
        let address6 = |text: &str| text.parse().expect("an address");
        let (client, vip) = (CLIENT.octets(), [192, 0, 2, 10]);
        let segment = tcp_with(ACK, 40_000, 80, &[0; 10]);
        to_node(&match self {
            Self::V4 => v4(client, vip, TCP).packet(&segment),
            Self::V6 => v6(0, address6(CLIENT6), address6(VIP6), TCP, &segment),
            Self::Stranger => v4(client, [192, 0, 2, 99], TCP).packet(&segment),
            Self::Syn => v4(client, vip, TCP).packet(&tcp_with(SYN, 40_000, 80, &[0; 10])),
            Self::Datagram => v4(client, vip, UDP).packet(&udp(40_000, 80, &[0; 22])),
            Self::Reply => v4([10, 1, 0, 1], client, TCP).packet(&tcp_with(ACK, 80, 40_000, &[0; 10])),
            Self::Echo => {
                summed(v4(client, vip, 1).packet(&[8, 0, 0, 0, 0, 1, 0, 1, b'p', b'i', b'n', b'g']))
            }
        })
    }
}

const MAX_SLOTS: u32 = 1 << 18;
const SIZES: Sizes = Sizes { slots: MAX_SLOTS, flows: 1 << 20, fragments: 1 << 13, connections: 1 << 18 };

/// Options for a data plane with everything, and tables of the default size or near it.
pub(super) fn options() -> kernel::Options {
    kernel::Options { sizes: SIZES, trace_drops: false, features: Features::ALL, flow_key: flow_key() }
}

/// A service for IPv4 and one for IPv6, each with that many backends; `more` are lines of the configuration.
fn config(mode: &str, protocol: &str, backends: u32, more: &str) -> Config {
    let mut text = "[node]\nname = \"bench\"\ninterfaces = [\"lo\"]\nanswer_neighbors = false\n".to_owned();
    for (name, vip) in [("four", "192.0.2.10"), ("six", VIP6)] {
        if mode == "fullnat" && name == "six" {
            continue;
        }
        write!(
            text,
            "[[service]]\nname = \"{name}\"\naddress = \"{vip}\"\nport = 80\nprotocol = \"{protocol}\"\nmode = \"{mode}\"\n{more}\n"
        )
        .expect("a string grows");
        for number in 0..backends {
            let address = match name {
                "four" => format!("10.1.{}.{}", number / 250, 1 + number % 250),
                _ => format!("fd00::{}", 1 + number),
            };
            write!(text, "[[service.backend]]\nname = \"b{number}\"\naddress = \"{address}\"\n")
                .expect("a string grows");
        }
    }
    parse("bench.toml", &text, &Overrides::default()).expect("the bench's configuration is valid").config
}

/// Installs the configuration; every next hop has the node's own MAC, so that a frame is as good for the next run.
fn install(kernel: &mut Kernel, config: &Config, installed: &mut Installed) -> Result<()> {
    let mut states = States::new();
    let mut next_hops: HashMap<IpAddr, Resolution> = HashMap::new();
    for service in &config.services {
        for backend in &service.backends {
            let of_service = states.entry(service.name.clone()).or_default();
            of_service.insert(backend.name.clone(), BackendState::default());
            let source_address = match service.address {
                IpAddr::V4(_) => "10.0.0.1",
                IpAddr::V6(_) => "fd00::ffff",
            };
            let next_hop = NextHop {
                interface: "lo".to_owned(),
                interface_index: INGRESS,
                gateway: None,
                mac: NODE_MAC,
                source_mac: NODE_MAC,
                source_address: source_address.parse().expect("an address"),
                mtu_bytes: 1500,
            };
            next_hops.insert(backend.address, Ok(next_hop));
        }
    }
    let desired = desired(config, &states, &next_hops, vec![(INGRESS, NODE_MAC)]);
    plan(installed, &desired, 1)?.apply(kernel, installed)?;
    Ok(())
}

/// How long it takes until a 65,537-slot table for 1,000 backends is computed and live in the kernel, best of `rounds`.
///
/// # Errors
/// When the program does not load.
pub fn table_time(rounds: u32) -> Result<Duration> {
    let mut config = config("dsr", "tcp", 1000, "slots = 65537");
    config.services.truncate(1);
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let mut kernel = Kernel::load(&kernel::Options { features: features(&config), ..options() })?;
        let start = Instant::now();
        install(&mut kernel, &config, &mut Installed::empty(MAX_SLOTS))?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}
