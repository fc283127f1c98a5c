//! What is timed: frames, the tables they meet, the programs they run through.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lb_common::abi::features::Features;
use lb_userspace::config::{Overrides, parse};
use lb_userspace::dataplane::kernel::{self, Kernel};
use lb_userspace::dataplane::tables::Sizes;
use lb_userspace::desired::{BackendState, Desired, States, desired};
use lb_userspace::model::Mode;
use lb_userspace::neighbor::{NextHop, Resolution};
use lb_userspace::reconcile::{Installed, plan};

use super::Subject;
use crate::packets::frame::{NODE_MAC, TCP, tcp, to_node, v4, v6};
use crate::packets::rows::action;
use crate::packets::world::{INGRESS, flow_key};

/// Programs that bound what is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Returns `XDP_TX` at once.
    Tx,
    /// Steps to another IPv4 flow and returns `XDP_TX`: what the frame of many flows costs by itself.
    TxManyV4,
    /// The same with IPv6.
    TxManyV6,
    /// Parses, grows the head, writes an outer IPv4 header.
    EncapV4,
    /// The same with IPv6.
    EncapV6,
}

impl Floor {
    /// Every floor.
    pub const ALL: [Self; 5] = [Self::Tx, Self::TxManyV4, Self::TxManyV6, Self::EncapV4, Self::EncapV6];

    /// As the report calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tx | Self::TxManyV4 | Self::TxManyV6 => "xdp-tx",
            Self::EncapV4 | Self::EncapV6 => "encap",
        }
    }

    pub(super) fn subject(self) -> Result<Subject> {
        let (program, vary, frame) = match self {
            Self::Tx => ("floor_tx", false, Frame::V4.to_vip()),
            Self::TxManyV4 => ("floor_tx", true, Frame::V4.to_vip()),
            Self::TxManyV6 => ("floor_tx_v6", true, Frame::V6.to_vip()),
            Self::EncapV4 => ("floor_encap_v4", false, Frame::V4.wrapped()),
            Self::EncapV6 => ("floor_encap_v6", false, Frame::V6.wrapped()),
        };
        Ok(Subject::new(testbed(program, vary)?, frame, action::TX))
    }
}

/// Something to time.
#[derive(Clone, Debug)]
pub struct Case {
    /// As the report calls it.
    pub name: &'static str,
    /// How many different flows: 1, or 2^20 in an order of their own.
    pub flows: u32,
    /// What it is compared with.
    pub floor: Floor,
    mode: Mode,
    frame: Frame,
    to_vip: bool,
}

/// Flows of the cases that vary them.
pub const MANY_FLOWS: u32 = 1 << 20;

impl Case {
    /// Every case.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let case = |name, floor, mode, frame, to_vip| {
            [1, MANY_FLOWS].map(|flows| {
                let floor = match (floor, flows, frame) {
                    (Floor::Tx, MANY_FLOWS, Frame::V4) => Floor::TxManyV4,
                    (Floor::Tx, MANY_FLOWS, Frame::V6) => Floor::TxManyV6,
                    _ => floor,
                };
                Self { name, flows, floor, mode, frame, to_vip }
            })
        };
        [
            case("not-ours", Floor::Tx, Mode::Dsr, Frame::V4, false),
            case("dsr-v4", Floor::Tx, Mode::Dsr, Frame::V4, true),
            case("dsr-v6", Floor::Tx, Mode::Dsr, Frame::V6, true),
            case("ipip-v4", Floor::EncapV4, Mode::Ipip, Frame::V4, true),
            case("ipip-v6", Floor::EncapV6, Mode::Ipip, Frame::V6, true),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    pub(super) fn subject(&self) -> Result<Subject> {
        let vary = self.flows > 1;
        let (mut kernel, frame) = match (self.mode, self.frame) {
            // The very program that `xlb run` loads: every next hop has the node's own MAC here, so that the frame is as good
            // for the next run as it was for this one.
            (Mode::Dsr, frame) if !vary => (
                load(kernel::OBJECT, kernel::PROGRAM, &[])?,
                if self.to_vip { frame.to_vip() } else { frame.to_stranger() },
            ),
            (Mode::Dsr, Frame::V4) => (
                testbed("bench_plain_v4", true)?,
                if self.to_vip { Frame::V4.to_vip() } else { Frame::V4.to_stranger() },
            ),
            (Mode::Dsr, Frame::V6) => (testbed("bench_plain_v6", true)?, Frame::V6.to_vip()),
            (Mode::Ipip, Frame::V4) => (testbed("bench_ipip_v4", vary)?, Frame::V4.wrapped()),
            (Mode::Ipip, Frame::V6) => (testbed("bench_ipip_v6", vary)?, Frame::V6.wrapped()),
            (mode @ (Mode::Gue | Mode::Nat | Mode::Fullnat), _) => anyhow::bail!("mode {mode} has no case"),
        };
        install(&mut kernel, &tables(self.mode, 100, ""))?;
        Ok(Subject::new(kernel, frame, if self.to_vip { action::TX } else { action::PASS }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    V4,
    V6,
}

const VIP6: &str = "2001:db8::10";
const CLIENT6: &str = "2001:db8:1::7";

impl Frame {
    fn packet(self, to_vip: bool) -> Vec<u8> {
        let segment = tcp(40_000, 80, &[0; 10]);
        let address6 = |text: &str| text.parse().expect("an address");
        match self {
            Self::V4 => v4([198, 18, 0, 7], [192, 0, 2, if to_vip { 10 } else { 99 }], TCP).packet(&segment),
            Self::V6 => {
                v6(0, address6(CLIENT6), address6(if to_vip { VIP6 } else { "2001:db8::99" }), TCP, &segment)
            }
        }
    }

    fn to_vip(self) -> Vec<u8> {
        to_node(&self.packet(true))
    }

    fn to_stranger(self) -> Vec<u8> {
        to_node(&self.packet(false))
    }

    /// Behind an outer header, as the run before has left it.
    fn wrapped(self) -> Vec<u8> {
        let inner = self.packet(true);
        let address6 = |text: &str| text.parse().expect("an address");
        match self {
            Self::V4 => to_node(&v4([10, 0, 0, 1], [10, 1, 0, 1], 4).packet(&inner)),
            Self::V6 => to_node(&v6(0, address6("fd00::1"), address6("fd00::2"), 41, &inner)),
        }
    }
}

const MAX_SLOTS: u32 = 1 << 18;
const SIZES: Sizes = Sizes { slots: MAX_SLOTS, flows: 1 << 20, fragments: 1 << 13, connections: 1 << 18 };

fn load(object: &[u8], program: &str, constants: &[(&str, u8)]) -> Result<Kernel> {
    let options =
        kernel::Options { sizes: SIZES, trace_drops: false, features: Features::ALL, flow_key: flow_key() };
    Ok(Kernel::load_program(object, program, &options, constants)?)
}

fn testbed(program: &str, vary: bool) -> Result<Kernel> {
    let path = crate::testbed_object();
    let object = std::fs::read(&path)
        .with_context(|| format!("{}: cannot be read: make it with `cargo xtask build`", path.display()))?;
    load(&object, program, &[("VARY_FLOW", u8::from(vary))])
}

/// A service for IPv4 and one for IPv6, each with that many backends; `size` is a line of the configuration, or empty for the
/// size that follows from the number of backends.
fn tables(mode: Mode, backends: u32, size: &str) -> Desired {
    let mut text = "[node]\nname = \"bench\"\ninterfaces = [\"lo\"]\n".to_owned();
    for (name, vip) in [("four", "192.0.2.10"), ("six", VIP6)] {
        write!(
            text,
            "[[service]]\nname = \"{name}\"\naddress = \"{vip}\"\nport = 80\nprotocol = \"tcp\"\nmode = \"{mode}\"\n{size}\n"
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
    let config =
        parse("bench.toml", &text, &Overrides::default()).expect("the bench's configuration is valid").config;
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
    desired(&config, &states, &next_hops, vec![(INGRESS, NODE_MAC)])
}

fn install(kernel: &mut Kernel, desired: &Desired) -> Result<()> {
    let mut installed = Installed::empty(MAX_SLOTS);
    plan(&mut installed, desired, 1)?.apply(kernel, &mut installed)?;
    Ok(())
}

/// How long it takes until a 65,537-slot table for 1,000 backends is computed and live in the kernel, best of `rounds`.
///
/// # Errors
/// When the program does not load.
pub fn table_time(rounds: u32) -> Result<Duration> {
    let mut desired = tables(Mode::Dsr, 1000, "slots = 65537");
    desired.services.truncate(1);
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let mut kernel = load(kernel::OBJECT, kernel::PROGRAM, &[])?;
        let start = Instant::now();
        install(&mut kernel, &desired)?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}
