//! The golden table, and how one row is run.

use std::fmt;

use lb_common::abi::counters::{self, Counter};
use lb_common::decide::{Decision, decide};
use lb_common::frame::Frame;
use lb_common::reason::{DropReason, PassReason};
use lb_common::rewrite::rewrite;
use lb_userspace::dataplane::Dataplane;
use lb_userspace::dataplane::kernel::Kernel;
use lb_userspace::dataplane::memory::Memory;

use super::frame::{
    CLIENT_MAC, NODE_MAC, TCP, UDP, ether_type_of, ethernet, extension, tagged_to_node, tcp, to_node, udp,
    v4, v6,
};
use super::world::{EGRESS_MAC, INGRESS, NEXT_HOP_MAC, World};

/// Actions of an XDP program (linux/bpf.h).
pub mod action {
    /// `XDP_DROP`.
    pub const DROP: u32 = 1;
    /// `XDP_PASS`.
    pub const PASS: u32 = 2;
    /// `XDP_TX`.
    pub const TX: u32 = 3;
    /// `XDP_REDIRECT`.
    pub const REDIRECT: u32 = 4;
}

/// A frame, and what has to come of it.
pub struct Row {
    /// What it shows.
    pub name: &'static str,
    /// The frame as it comes in.
    pub frame: Vec<u8>,
    /// Its fate.
    pub fate: Fate,
}

/// What has to come of a frame.
pub enum Fate {
    /// On to the stack, unchanged.
    Pass(PassReason),
    /// Nowhere.
    Drop(DropReason),
    /// To the backend of a service, as these bytes.
    Forward {
        /// The service.
        service: &'static str,
        /// The XDP action.
        action: u32,
        /// The frame that leaves.
        frame: Vec<u8>,
    },
}

/// What came of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The XDP action.
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Index of the one counter that counted it.
    pub counter: u32,
}

impl fmt::Display for Outcome {
    /// One line, the frame in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "action {} counter {} frame", self.action, self.counter)?;
        self.frame.chunks(2).try_for_each(|pair| {
            f.write_str(" ")?;
            pair.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        })
    }
}

/// Runs a frame through the host's tables.
#[must_use]
pub fn run_on_host(world: &World<Memory>, frame: &[u8]) -> Outcome {
    let tables = world.dataplane.tables();
    let mut bytes = frame.to_vec();
    match decide(&Frame::from_bytes(&mut bytes), tables) {
        Decision::Pass(reason) => {
            Outcome { action: action::PASS, frame: bytes, counter: counters::of_pass(reason) }
        }
        Decision::Drop(reason) => {
            Outcome { action: action::DROP, frame: bytes, counter: counters::of_drop(reason) }
        }
        Decision::Forward(forward) => {
            let mut grown = vec![0; usize::from(forward.mode.overhead_bytes())];
            grown.extend(bytes);
            rewrite(&mut Frame::from_bytes(&mut grown), &forward).expect("what was parsed can be rewritten");
            let here = forward.backend.interface == INGRESS;
            let action = if here { action::TX } else { action::REDIRECT };
            Outcome { action, frame: grown, counter: counters::of_backend(forward.id) }
        }
    }
}

/// Runs a frame of at least 14 bytes through the loaded program. `counters` are the indices to watch.
///
/// # Errors
/// When the kernel refuses the frame, or another number of counters than one has moved by one packet.
pub fn run_in_kernel(world: &mut World<Kernel>, frame: &[u8], counters: &[u32]) -> Result<Outcome, String> {
    let before = read(world, counters)?;
    let result = world.dataplane.test_run(frame, 1).map_err(|error| error.to_string())?;
    let after = read(world, counters)?;
    let moved: Vec<(u32, u64, u64)> = counters
        .iter()
        .zip(before.iter().zip(&after))
        .filter(|(_, (before, after))| before != after)
        .map(|(index, (b, a))| (*index, a.packets - b.packets, a.bytes - b.bytes))
        .collect();
    match moved[..] {
        [(counter, 1, bytes)] if bytes == frame.len() as u64 => {
            Ok(Outcome { action: result.action, frame: result.frame, counter })
        }
        _ => Err(format!(
            "one counter moves by one packet of {} bytes; moved (index, packets, bytes): {moved:?}",
            frame.len()
        )),
    }
}

fn read(world: &World<Kernel>, counters: &[u32]) -> Result<Vec<Counter>, String> {
    counters.iter().map(|index| world.dataplane.counter(*index).map_err(|error| error.to_string())).collect()
}

/// Every counter that a frame of these tests can move.
#[must_use]
pub fn watched_counters<D: Dataplane>(world: &World<D>) -> Vec<u32> {
    let backends = SERVICES.iter().map(|service| world.backend_counter(service));
    PassReason::ALL
        .iter()
        .map(|reason| counters::of_pass(*reason))
        .chain(DropReason::ALL.iter().map(|reason| counters::of_drop(*reason)))
        .chain(backends)
        .collect()
}

const SERVICES: [&str; 7] = ["web4", "dns4", "web6", "tunnel4", "tunnel6", "spread4", "far"];

impl Fate {
    /// The outcome that a frame has to have.
    #[must_use]
    pub fn outcome<D: Dataplane>(&self, world: &World<D>, frame: &[u8]) -> Outcome {
        match self {
            Self::Pass(reason) => {
                Outcome { action: action::PASS, frame: frame.to_vec(), counter: counters::of_pass(*reason) }
            }
            Self::Drop(reason) => {
                Outcome { action: action::DROP, frame: frame.to_vec(), counter: counters::of_drop(*reason) }
            }
            Self::Forward { service, action, frame } => {
                Outcome { action: *action, frame: frame.clone(), counter: world.backend_counter(service) }
            }
        }
    }
}

const CLIENT4: [u8; 4] = [198, 51, 100, 7];
const CLIENT6: &str = "2001:db8:1::7";

fn addr6(text: &str) -> std::net::Ipv6Addr {
    text.parse().expect("an address")
}

fn web4(port: u16) -> Vec<u8> {
    v4(CLIENT4, [192, 0, 2, 10], TCP).packet(&tcp(40_000, port, b"hello"))
}

fn web6(next: u8, payload: &[u8]) -> Vec<u8> {
    v6(0, addr6(CLIENT6), addr6("2001:db8::10"), next, payload)
}

/// The frame that leaves in mode dsr: the same bytes behind other MACs.
fn dsr(tags: &[(u16, u16)], ip: &[u8]) -> Vec<u8> {
    ethernet(NEXT_HOP_MAC, EGRESS_MAC, tags, ether_type_of(ip), ip)
}

fn row(name: &'static str, frame: Vec<u8>, fate: Fate) -> Row {
    Row { name, frame, fate }
}

fn forward(name: &'static str, service: &'static str, frame: Vec<u8>, out: Vec<u8>) -> Row {
    row(name, frame, Fate::Forward { service, action: action::TX, frame: out })
}

fn outer4(tos: u8, source: [u8; 4], destination: [u8; 4], inner: &[u8]) -> Vec<u8> {
    super::frame::V4 { tos, id: 0, ..v4(source, destination, 4) }.packet(inner)
}

/// The whole table.
#[must_use]
pub fn rows() -> Vec<Row> {
    [forwarded(), encapsulated(), passed(), dropped(), malformed()].into_iter().flatten().collect()
}

fn forwarded() -> Vec<Row> {
    const VLAN: &[(u16, u16)] = &[(0x8100, 0x2064)];
    const QINQ: &[(u16, u16)] = &[(0x88a8, 0x0064), (0x8100, 0x00c8)];
    let options =
        super::frame::V4 { options: &[0x94, 4, 0, 0, 1, 1, 1, 0], ..v4(CLIENT4, [192, 0, 2, 10], TCP) }
            .packet(&tcp(40_000, 80, b""));
    let dns = v4(CLIENT4, [192, 0, 2, 10], UDP).packet(&udp(5353, 53, b"query"));
    let far = v4(CLIENT4, [192, 0, 2, 40], TCP).packet(&tcp(1, 80, b""));
    let plain6 = web6(TCP, &tcp(40_000, 80, b"hello"));
    // Hop-by-hop, routing and destination options in front of TCP.
    let extended6 = web6(0, &extension(43, 0, &extension(60, 2, &extension(TCP, 31, &tcp(40_000, 80, b"")))));
    // The last extension header that is read.
    let six =
        (0..6).fold(tcp(1, 80, b""), |rest, depth| extension(if depth == 0 { TCP } else { 60 }, 0, &rest));
    let six = web6(60, &six);
    let mut padded = to_node(&v4(CLIENT4, [192, 0, 2, 10], TCP).packet(&tcp(40_000, 80, b"")));
    let mut padded_out = dsr(&[], &padded[14..]);
    padded.extend([0; 6]);
    padded_out.extend([0; 6]);
    vec![
        forward("dsr-v4", "web4", to_node(&web4(80)), dsr(&[], &web4(80))),
        forward("dsr-v4-vlan", "web4", tagged_to_node(VLAN, &web4(80)), dsr(VLAN, &web4(80))),
        forward("dsr-v4-two-vlan-tags", "web4", tagged_to_node(QINQ, &web4(80)), dsr(QINQ, &web4(80))),
        forward("dsr-v4-options", "web4", to_node(&options), dsr(&[], &options)),
        forward("dsr-v4-ethernet-padding", "web4", padded, padded_out),
        forward("dsr-v4-udp", "dns4", to_node(&dns), dsr(&[], &dns)),
        forward("dsr-v6", "web6", to_node(&plain6), dsr(&[], &plain6)),
        forward("dsr-v6-vlan", "web6", tagged_to_node(VLAN, &plain6), dsr(VLAN, &plain6)),
        forward("dsr-v6-extension-headers", "web6", to_node(&extended6), dsr(&[], &extended6)),
        forward("dsr-v6-six-extension-headers", "web6", to_node(&six), dsr(&[], &six)),
        row(
            "dsr-v4-other-interface",
            to_node(&far),
            Fate::Forward { service: "far", action: action::REDIRECT, frame: dsr(&[], &far) },
        ),
    ]
}

fn encapsulated() -> Vec<Row> {
    const VLAN: &[(u16, u16)] = &[(0x8100, 0x0064)];
    const QINQ: &[(u16, u16)] = &[(0x88a8, 0x0064), (0x8100, 0x00c8)];
    let vip4 = [192, 0, 2, 20];
    let inner4 = v4(CLIENT4, vip4, TCP).packet(&tcp(40_000, 80, b"hello"));
    let outer4_of = |tos, inner: &[u8]| outer4(tos, [10, 0, 0, 1], [10, 0, 0, 21], inner);
    // DSCP EF, and the congestion-experienced bits that have to survive (RFC 6040).
    let marked4 = super::frame::V4 { tos: 0xbb, ..v4(CLIENT4, vip4, TCP) }.packet(&tcp(1, 80, b""));
    let full4 = |payload: usize| v4(CLIENT4, vip4, TCP).packet(&tcp(1, 80, &vec![7; payload]));
    let vip6 = addr6("2001:db8::20");
    let inner6 = v6(0xbb, addr6(CLIENT6), vip6, TCP, &tcp(40_000, 80, b"hello"));
    let outer6 = |class, inner: &[u8]| v6(class, addr6("fd00::1"), addr6("fd00::21"), 41, inner);
    let full6 = |payload: usize| v6(0, addr6(CLIENT6), vip6, TCP, &tcp(1, 80, &vec![7; payload]));
    vec![
        forward("ipip-v4", "tunnel4", to_node(&inner4), dsr(&[], &outer4_of(0, &inner4))),
        forward("ipip-v4-vlan", "tunnel4", tagged_to_node(VLAN, &inner4), dsr(VLAN, &outer4_of(0, &inner4))),
        forward(
            "ipip-v4-two-vlan-tags",
            "tunnel4",
            tagged_to_node(QINQ, &inner4),
            dsr(QINQ, &outer4_of(0, &inner4)),
        ),
        forward(
            "ipip-v4-type-of-service",
            "tunnel4",
            to_node(&marked4),
            dsr(&[], &outer4_of(0xbb, &marked4)),
        ),
        // 1,500 bytes with the outer header: 20 outer, 20 inner, 20 TCP.
        forward("ipip-v4-just-fits", "tunnel4", to_node(&full4(1440)), dsr(&[], &outer4_of(0, &full4(1440)))),
        row("ipip-v4-exceeds-mtu", to_node(&full4(1441)), Fate::Drop(DropReason::ExceedsMtu)),
        forward("ipip-v6", "tunnel6", to_node(&inner6), dsr(&[], &outer6(0xbb, &inner6))),
        forward("ipip-v6-vlan", "tunnel6", tagged_to_node(VLAN, &inner6), dsr(VLAN, &outer6(0xbb, &inner6))),
        forward("ipip-v6-just-fits", "tunnel6", to_node(&full6(1400)), dsr(&[], &outer6(0, &full6(1400)))),
        row("ipip-v6-exceeds-mtu", to_node(&full6(1401)), Fate::Drop(DropReason::ExceedsMtu)),
    ]
}

fn passed() -> Vec<Row> {
    let stranger4 = v4(CLIENT4, [192, 0, 2, 99], TCP).packet(&tcp(1, 80, b""));
    let stranger6 = v6(0, addr6(CLIENT6), addr6("2001:db8::99"), TCP, &tcp(1, 80, b""));
    let mapped = v6(0, addr6(CLIENT6), addr6("::ffff:192.0.2.20"), TCP, &tcp(1, 80, b""));
    let echo4 = v4(CLIENT4, [192, 0, 2, 10], 1).packet(&[8, 0, 0, 0, 0, 1, 0, 1]);
    let echo6 = web6(58, &[128, 0, 0, 0, 0, 1, 0, 1]);
    let fragment =
        super::frame::V4 { fragment: 0x2000, ..v4(CLIENT4, [192, 0, 2, 99], UDP) }.packet(&udp(1, 2, b""));
    vec![
        row("arp", ethernet(NODE_MAC, CLIENT_MAC, &[], 0x0806, &[0; 28]), Fate::Pass(PassReason::NotIp)),
        row("three-vlan-tags", tagged_to_node(&[(0x8100, 1); 3], &web4(80)), Fate::Pass(PassReason::NotIp)),
        row(
            "broadcast",
            ethernet([0xff; 6], CLIENT_MAC, &[], 0x0800, &web4(80)),
            Fate::Pass(PassReason::OtherMac),
        ),
        row(
            "flooded-by-the-switch",
            ethernet(NEXT_HOP_MAC, CLIENT_MAC, &[], 0x0800, &web4(80)),
            Fate::Pass(PassReason::OtherMac),
        ),
        row("not-a-vip-v4", to_node(&stranger4), Fate::Pass(PassReason::NotVip)),
        row("not-a-vip-v6", to_node(&stranger6), Fate::Pass(PassReason::NotVip)),
        row("an-ipv4-vip-mapped-into-ipv6", to_node(&mapped), Fate::Pass(PassReason::NotVip)),
        row("a-fragment-that-is-not-ours", to_node(&fragment), Fate::Pass(PassReason::NotVip)),
        row("echo-v4", to_node(&echo4), Fate::Pass(PassReason::NotBalanced)),
        row("echo-v6", to_node(&echo6), Fate::Pass(PassReason::NotBalanced)),
    ]
}

fn dropped() -> Vec<Row> {
    let udp80 = v4(CLIENT4, [192, 0, 2, 10], UDP).packet(&udp(1, 80, b""));
    let empty = v4(CLIENT4, [192, 0, 2, 30], TCP).packet(&tcp(1, 80, b""));
    let fragment = |bits| {
        super::frame::V4 { fragment: bits, ..v4(CLIENT4, [192, 0, 2, 10], TCP) }.packet(&tcp(1, 80, b""))
    };
    // Fragment header: next header, reserved, offset and more-bit, identification.
    let fragment6 = web6(44, &[&[TCP, 0, 0, 1, 0, 0, 0, 1][..], &tcp(1, 80, b"")].concat());
    let seven =
        (0..7).fold(tcp(1, 80, b""), |rest, depth| extension(if depth == 0 { TCP } else { 60 }, 0, &rest));
    vec![
        row("unused-port", to_node(&web4(81)), Fate::Drop(DropReason::NoService)),
        row("other-protocol-on-the-port", to_node(&udp80), Fate::Drop(DropReason::NoService)),
        row("service-without-backends", to_node(&empty), Fate::Drop(DropReason::NoBackend)),
        row("first-fragment", to_node(&fragment(0x2000)), Fate::Drop(DropReason::Fragment)),
        row("later-fragment", to_node(&fragment(0x0003)), Fate::Drop(DropReason::Fragment)),
        row("fragment-far-into-the-packet", to_node(&fragment(0x1000)), Fate::Drop(DropReason::Fragment)),
        row("fragment-v6", to_node(&fragment6), Fate::Drop(DropReason::Fragment)),
        row("seven-extension-headers", to_node(&web6(60, &seven)), Fate::Drop(DropReason::ExtensionHeaders)),
        row(
            "extension-header-past-the-end",
            to_node(&web6(60, &extension(TCP, 0, b""))[..40]),
            Fate::Drop(DropReason::ExtensionHeaders),
        ),
    ]
}

fn malformed() -> Vec<Row> {
    let with = |at: usize, value: &[u8]| {
        let mut frame = to_node(&web4(80));
        frame[at..at + value.len()].copy_from_slice(value);
        frame
    };
    let cut = |len: usize| to_node(&web4(80))[..len].to_vec();
    let mut long6 = to_node(&web6(TCP, &tcp(1, 80, b"")));
    long6[18..20].copy_from_slice(&0xffffu16.to_be_bytes());
    let version6 = {
        let mut frame = to_node(&web6(TCP, &tcp(1, 80, b"")));
        frame[14] = 0x40;
        frame
    };
    vec![
        row("only-an-ethernet-header", cut(14), Fate::Pass(PassReason::Truncated)),
        row("half-an-ip-header", cut(33), Fate::Pass(PassReason::Truncated)),
        row(
            "half-a-vlan-tag",
            tagged_to_node(&[(0x8100, 1)], &[])[..16].to_vec(),
            Fate::Pass(PassReason::Truncated),
        ),
        row("version-5", with(14, &[0x55]), Fate::Pass(PassReason::BadIpHeader)),
        row("version-4-behind-the-ethertype-of-6", version6, Fate::Pass(PassReason::BadIpHeader)),
        row("header-of-four-words", with(14, &[0x44]), Fate::Pass(PassReason::BadIpHeader)),
        row("header-longer-than-the-packet", with(14, &[0x4f]), Fate::Drop(DropReason::TruncatedTransport)),
        row("half-a-tcp-header", cut(44), Fate::Drop(DropReason::TruncatedTransport)),
        row("shorter-than-it-says", cut(55), Fate::Drop(DropReason::BadLength)),
        row("length-of-zero", with(16, &[0, 0]), Fate::Drop(DropReason::BadLength)),
        row("length-without-tcp-header", with(16, &[0, 39]), Fate::Drop(DropReason::BadLength)),
        row("longest-length", with(16, &[0xff, 0xff]), Fate::Drop(DropReason::BadLength)),
        row("longest-length-v6", long6, Fate::Drop(DropReason::BadLength)),
    ]
}
