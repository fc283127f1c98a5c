//! A packet's whole way, in instructions: made by the kernel as a live frame, through a balancer, to where it is dropped.
//!
//! ```text
//!   source ── balancer-in   [xlb | IPVS | nftables]   balancer-out ── backend
//!   `generate`                                                        `drop`
//! ```
//! All four ends are in one namespace, since nothing here is spoken to by its address except the balancer. Every path makes the
//! same frames; what differs from the path that drops them at `balancer-in` is what the balancer and the way from it to the
//! backend cost.

use std::{collections::HashMap, fmt::Write as _, fs, net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use aya::maps::Array;
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode as AyaMode};
use aya::{Ebpf, EbpfLoader};
use lb_userspace::config::{Overrides, parse};
use lb_userspace::dataplane::kernel::{Kernel, Options};
use lb_userspace::desired::{BackendState, States, desired, features};
use lb_userspace::model::XdpMode;
use lb_userspace::neighbor::{NextHop, format_mac};
use lb_userspace::reconcile::{Installed, plan};
use nix::net::if_::if_nametoindex;

use super::super::{Cost, paths};
use super::init::{ip, run};
use super::report::Report;
use crate::lab::wait;
use crate::packets::frame::{NODE_MAC, UDP, to_node, udp, v4};
use crate::packets::world;

const SOURCE: &str = "source";
const IN: &str = "balancer-in";
const OUT: &str = "balancer-out";
const BACKEND: &str = "backend";

const OUT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
const BACKEND_MAC: [u8; 6] = [2, 0, 0, 0, 0, 4];

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const BACKENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 1, 11), Ipv4Addr::new(10, 0, 1, 12)];
const OUT_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);

/// Frames that the kernel sends at once, before the receivers have their turn; the program `generate` knows the number.
const BATCH: u32 = 64;
/// Frames of a run: enough that its ends do not show.
const FRAMES: u32 = 300 * BATCH;
/// Runs of a path, the middle one counts; one more before them meets every flow for the first time.
const RUNS: usize = 3;
/// As many words as the program `generate` writes of each frame.
const TEMPLATE_BYTES: usize = 44;

pub(super) fn count(report: &mut Report) -> Result<()> {
    lay_cables()?;
    let mut generator = Generator::load()?;
    let _wakes = attach("pass", SOURCE)?;
    {
        let _drop = attach("drop", IN)?;
        measure(report, paths::BASE, &mut generator, IN)?;
    }
    let _drop = attach("drop", BACKEND)?;
    {
        let _xlb = xlb()?;
        measure(report, paths::DSR, &mut generator, BACKEND)?;
    }
    // What XDP sends to a veth without a program arrives where frames are collected by the device (NAPI).
    run("ethtool", &["-K", IN, "gro", "on"])?;
    ipvs()?;
    measure(report, paths::IPVS, &mut generator, BACKEND)?;
    run("ipvsadm", &["--clear"])?;
    ip(&["address", "delete", &format!("{VIP}/32"), "dev", "lo"])?;
    nft()?;
    measure(report, paths::NFT, &mut generator, BACKEND)
}

fn lay_cables() -> Result<()> {
    let sysctls = [
        // Nothing is sent but what is counted.
        ("net/ipv6/conf/default/disable_ipv6", "1"),
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
    ];
    for (key, value) in sysctls {
        fs::write(format!("/proc/sys/{key}"), value).with_context(|| format!("cannot set {key}"))?;
    }
    for (one, mac, other, other_mac) in
        [(SOURCE, [2, 0, 0, 0, 0, 2], IN, NODE_MAC), (OUT, OUT_MAC, BACKEND, BACKEND_MAC)]
    {
        let (mac, other_mac) = (format_mac(mac), format_mac(other_mac));
        let link = ["link", "add", one, "address", &mac, "up", "type", "veth"];
        ip(&[&link[..], &["peer", "name", other, "address", &other_mac]].concat())?;
        ip(&["link", "set", other, "up"])?;
    }
    ip(&["address", "add", "10.0.0.1/24", "dev", IN])?;
    ip(&["address", "add", &format!("{OUT_ADDRESS}/24"), "dev", OUT])?;
    for backend in BACKENDS {
        let (backend, mac) = (backend.to_string(), format_mac(BACKEND_MAC));
        ip(&["neighbor", "add", &backend, "lladdr", &mac, "dev", OUT, "nud", "permanent"])?;
    }
    Ok(())
}

/// Attaches a program of the testbed for as long as what is returned lives.
fn attach(program: &str, interface: &str) -> Result<Ebpf> {
    let mut testbed = Ebpf::load_file(crate::testbed::path())?;
    let xdp = xdp(&mut testbed, program)?;
    xdp.load()?;
    xdp.attach(interface, AyaMode::Driver)
        .with_context(|| format!("cannot attach {program} to {interface}"))?;
    Ok(testbed)
}

fn xdp<'e>(testbed: &'e mut Ebpf, program: &str) -> Result<&'e mut Xdp> {
    let found = testbed.program_mut(program).with_context(|| format!("the testbed has no {program}"))?;
    Ok(found.try_into()?)
}

/// The program that makes frames, and the frame.
struct Generator {
    testbed: Ebpf,
    frame: Vec<u8>,
}

const GENERATE: &str = "generate";

impl Generator {
    fn load() -> Result<Self> {
        let packet = v4([198, 18, 0, 7], VIP.octets(), UDP).packet(&udp(1024, 80, &[0; 18]));
        let frame = to_node(&packet);
        let mut testbed = EbpfLoader::new()
            .override_global("TEMPLATE", &frame[..TEMPLATE_BYTES], true)
            .load_file(crate::testbed::path())?;
        xdp(&mut testbed, GENERATE)?.load()?;
        Ok(Self { testbed, frame })
    }

    /// Sends frames out of the interface; gives the time that all but the last batch took.
    fn send(&mut self, interface: &str, frames: u32) -> Result<Duration> {
        let made = self.testbed.map_mut("GENERATED").context("the testbed has no map GENERATED")?;
        let mut made = Array::<_, u64>::try_from(made)?;
        for index in 0..made.len() {
            made.set(index, 0, 0)?;
        }
        let index = if_nametoindex(interface)?;
        let length = u32::try_from(self.frame.len())?;
        // struct xdp_md (linux/bpf.h): data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex. What the
        // program sends back with XDP_TX leaves through the interface that it is said to have come in on.
        let context: Vec<u8> = [0, length, 0, index, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            ctx_in: Some(&context),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::new()
        };
        xdp(&mut self.testbed, GENERATE)?.test_run(options)?;
        let made = self.testbed.map("GENERATED").context("the testbed has no map GENERATED")?;
        let made = Array::<_, u64>::try_from(made)?;
        let [count, first, last] = [made.get(&0, 0)?, made.get(&1, 0)?, made.get(&2, 0)?];
        ensure!(count == u64::from(frames), "{count} frames were made, not {frames}");
        Ok(Duration::from_nanos(last - first))
    }
}

/// Sends frames over a path until all have arrived at `end`, some times, and reports what one costs.
fn measure(report: &mut Report, path: &str, generator: &mut Generator, end: &str) -> Result<()> {
    let mut once = || -> Result<u32> {
        let before = received(end)?;
        let took = generator.send(SOURCE, FRAMES)?;
        // The last frames may wait for a kernel thread.
        wait::until("the arrival of all frames", Duration::from_secs(10), || {
            let arrived = received(end)? - before;
            ensure!(arrived >= u64::from(FRAMES), "{arrived} of {FRAMES} have arrived at {end}");
            Ok(())
        })?;
        // The clock counts instructions.
        Ok(u32::try_from(took.as_nanos() / u128::from(FRAMES - BATCH))?)
    };
    once().with_context(|| path.to_owned())?;
    let mut costs = (0..RUNS).map(|_| once()).collect::<Result<Vec<_>>>().with_context(|| path.to_owned())?;
    costs.sort_unstable();
    report.cost(Cost { case: path.to_owned(), instructions: costs[RUNS / 2] })
}

fn received(interface: &str) -> Result<u64> {
    let file = format!("/sys/class/net/{interface}/statistics/rx_packets");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    Ok(text.trim().parse()?)
}

/// The production program with a service of two backends.
fn xlb() -> Result<Kernel> {
    let mut text = format!(
        "[node]\nname = \"paths\"\ninterfaces = [\"{IN}\"]\n\
         [[service]]\nname = \"s\"\naddress = \"{VIP}\"\nport = 80\nprotocol = \"udp\"\nmode = \"dsr\"\n\
         tracking = \"adaptive\"\n"
    );
    let next_hop = NextHop {
        interface: OUT.to_owned(),
        interface_index: if_nametoindex(OUT)?,
        gateway: None,
        mac: BACKEND_MAC,
        source_mac: OUT_MAC,
        source_address: OUT_ADDRESS.into(),
        mtu_bytes: 1500,
    };
    let (mut next_hops, mut states) = (HashMap::new(), HashMap::new());
    for address in BACKENDS {
        write!(text, "[[service.backend]]\nname = \"b{0}\"\naddress = \"{address}\"\n", address.octets()[3])?;
        next_hops.insert(address.into(), Ok(next_hop.clone()));
        states.insert(format!("b{}", address.octets()[3]), BackendState::default());
    }
    let config = parse("paths.toml", &text, &Overrides::default())?.config;
    let states = States::from([("s".to_owned(), states)]);
    let options = Options { features: features(&config), ..world::options() };
    let mut kernel = Kernel::load(&options)?;
    let mut installed = Installed::empty(options.sizes.slots);
    let desired = desired(&config, &states, &next_hops, vec![(world::INGRESS, NODE_MAC)]);
    plan(&mut installed, &desired, 1)?.apply(&mut kernel, &mut installed)?;
    kernel.attach(IN, XdpMode::Native)?;
    Ok(kernel)
}

/// IPVS with direct routing; the VIP is the node's own, or IPVS does not see the packet.
fn ipvs() -> Result<()> {
    ip(&["address", "add", &format!("{VIP}/32"), "dev", "lo"])?;
    let service = format!("{VIP}:80");
    run("ipvsadm", &["--add-service", "--udp-service", &service, "--scheduler", "rr"])?;
    for backend in BACKENDS {
        let backend = backend.to_string();
        let words = ["--add-server", "--udp-service", &service, "--real-server", &backend, "--gatewaying"];
        run("ipvsadm", &words)?;
    }
    Ok(())
}

/// Destination NAT to one of the backends by a hash of the flow.
fn nft() -> Result<()> {
    let [one, other] = BACKENDS;
    let rules = format!(
        "table ip balancer {{\n\
         chain prerouting {{\n\
         type nat hook prerouting priority dstnat\n\
         ip daddr {VIP} udp dport 80 dnat to jhash ip saddr . udp sport mod 2 map {{ 0 : {one}, 1 : {other} }}\n\
         }}\n\
         }}\n"
    );
    let file = "/tmp/balancer.nft";
    fs::write(file, rules)?;
    run("nft", &["--file", file])
}
