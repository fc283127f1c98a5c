//! The golden table, and how one row is run.

use std::fmt;

use lb_common::abi::counters::{self, Counter};
use lb_common::reason::{AnswerKind, DropReason, PassReason};
use lb_userspace::dataplane::Dataplane;
use lb_userspace::dataplane::host;
use lb_userspace::dataplane::kernel::Kernel;
use lb_userspace::dataplane::memory::Memory;

use super::frame::{
    ACK, CLIENT_MAC, NODE_MAC, TCP, UDP, ether_type_of, ethernet, extension, routed, summed, tagged_to_node,
    tcp, tcp_with, to_node, udp, v4, v6,
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
    /// Frames that have to come before it, as the first fragment before the later ones.
    pub before: Vec<Vec<u8>>,
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
    /// Back to the sender, as these bytes.
    Answer {
        /// The kind of answer.
        kind: AnswerKind,
        /// The frame that leaves.
        frame: Vec<u8>,
    },
    /// A reply that leaves, through the stack, as these bytes.
    Reply {
        /// The frame.
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
    world.dataplane.run(frame).into()
}

impl From<host::Outcome> for Outcome {
    fn from(outcome: host::Outcome) -> Self {
        let action = match outcome.fate {
            host::Fate::Pass => action::PASS,
            host::Fate::Drop => action::DROP,
            host::Fate::Send(INGRESS) => action::TX,
            host::Fate::Send(_) => action::REDIRECT,
        };
        Self { action, frame: outcome.frame, counter: outcome.counter }
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

impl Row {
    /// Runs the row through the loaded program: what comes before it, and the frame.
    ///
    /// # Errors
    /// As [`run_in_kernel`].
    pub fn run_in_kernel(&self, world: &mut World<Kernel>, counters: &[u32]) -> Result<Outcome, String> {
        for frame in &self.before {
            run_in_kernel(world, frame, counters)?;
        }
        run_in_kernel(world, &self.frame, counters)
    }
}

fn read(world: &World<Kernel>, counters: &[u32]) -> Result<Vec<Counter>, String> {
    counters.iter().map(|index| world.dataplane.counter(*index).map_err(|error| error.to_string())).collect()
}

/// Every counter of a packet's fate that a frame of these tests can move.
#[must_use]
pub fn watched_counters<D: Dataplane>(world: &World<D>) -> Vec<u32> {
    let passed = PassReason::ALL.iter().map(|reason| counters::of_pass(*reason));
    let dropped = DropReason::ALL.iter().map(|reason| counters::of_drop(*reason));
    let answered = AnswerKind::ALL.iter().map(|kind| counters::of_answer(*kind));
    let mut all: Vec<u32> = passed.chain(dropped).chain(answered).chain(world.backend_counters()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

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
            Self::Answer { kind, frame } => {
                Outcome { action: action::TX, frame: frame.clone(), counter: counters::of_answer(*kind) }
            }
            Self::Reply { frame } => Outcome {
                action: action::PASS,
                frame: frame.clone(),
                counter: counters::of_pass(PassReason::ReplyToStack),
            },
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

/// The packet as it is, behind the MACs of the way to the backend.
fn sent(tags: &[(u16, u16)], ip: &[u8]) -> Vec<u8> {
    ethernet(NEXT_HOP_MAC, EGRESS_MAC, tags, ether_type_of(ip), ip)
}

/// The frame that leaves in mode dsr: one hop less, behind other MACs.
fn dsr(tags: &[(u16, u16)], ip: &[u8]) -> Vec<u8> {
    sent(tags, &routed(ip))
}

fn row(name: &'static str, frame: Vec<u8>, fate: Fate) -> Row {
    Row { name, frame, before: Vec::new(), fate }
}

fn answer(name: &'static str, kind: AnswerKind, frame: Vec<u8>, out: Vec<u8>) -> Row {
    row(name, frame, Fate::Answer { kind, frame: out })
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
    [
        forwarded(),
        encapsulated(),
        udp_encapsulated(),
        translated(),
        icmp(),
        fragments(),
        neighbors(),
        let_in(),
        passed(),
        dropped(),
        malformed(),
    ]
    .into_iter()
    .flatten()
    .collect()
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
    let short = v4(CLIENT4, [192, 0, 2, 10], UDP).packet(&udp(5353, 53, b""));
    vec![
        forward("dsr-v4-udp-without-data", "dns4", to_node(&short), dsr(&[], &short)),
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
    let outer4_of = |tos, inner: &[u8]| outer4(tos, [10, 0, 0, 1], [10, 0, 0, 21], &routed(inner));
    // DSCP EF, and the congestion-experienced bits that have to survive (RFC 6040).
    let marked4 = super::frame::V4 { tos: 0xbb, ..v4(CLIENT4, vip4, TCP) }.packet(&tcp(1, 80, b""));
    let full4 = |payload: usize| v4(CLIENT4, vip4, TCP).packet(&tcp(1, 80, &vec![7; payload]));
    let vip6 = addr6("2001:db8::20");
    let inner6 = v6(0xbb, addr6(CLIENT6), vip6, TCP, &tcp(40_000, 80, b"hello"));
    let outer6 = |class, inner: &[u8]| v6(class, addr6("fd00::1"), addr6("fd00::21"), 41, &routed(inner));
    let cross4 = v4(CLIENT4, [192, 0, 2, 21], TCP).packet(&tcp(1, 80, b"cross"));
    let cross6 = v6(0x12, addr6(CLIENT6), addr6("2001:db8::21"), TCP, &tcp(1, 80, b"cross"));
    let full6 = |payload: usize| v6(0, addr6(CLIENT6), vip6, TCP, &tcp(1, 80, &vec![7; payload]));
    vec![
        forward("ipip-v4", "tunnel4", to_node(&inner4), sent(&[], &outer4_of(0, &inner4))),
        forward("ipip-v4-vlan", "tunnel4", tagged_to_node(VLAN, &inner4), sent(VLAN, &outer4_of(0, &inner4))),
        forward(
            "ipip-v4-two-vlan-tags",
            "tunnel4",
            tagged_to_node(QINQ, &inner4),
            sent(QINQ, &outer4_of(0, &inner4)),
        ),
        forward(
            "ipip-v4-type-of-service",
            "tunnel4",
            to_node(&marked4),
            sent(&[], &outer4_of(0xbb, &marked4)),
        ),
        // 1,500 bytes with the outer header: 20 outer, 20 inner, 20 TCP.
        forward(
            "ipip-v4-just-fits",
            "tunnel4",
            to_node(&full4(1440)),
            sent(&[], &outer4_of(0, &full4(1440))),
        ),
        answer(
            "ipip-v4-exceeds-mtu",
            AnswerKind::TooBig,
            to_node(&full4(1441)),
            too_big4(&[], &full4(1441), 1480),
        ),
        answer(
            "ipip-v4-exceeds-mtu-vlan",
            AnswerKind::TooBig,
            tagged_to_node(VLAN, &full4(1441)),
            too_big4(VLAN, &full4(1441), 1480),
        ),
        forward("ipip-v6", "tunnel6", to_node(&inner6), sent(&[], &outer6(0xbb, &inner6))),
        forward("ipip-v6-vlan", "tunnel6", tagged_to_node(VLAN, &inner6), sent(VLAN, &outer6(0xbb, &inner6))),
        forward("ipip-v6-just-fits", "tunnel6", to_node(&full6(1400)), sent(&[], &outer6(0, &full6(1400)))),
        answer(
            "ipip-v6-exceeds-mtu",
            AnswerKind::TooBig,
            to_node(&full6(1401)),
            too_big6(&[], &full6(1401), 1460),
        ),
        answer(
            "ipip-v6-exceeds-mtu-two-vlan-tags",
            AnswerKind::TooBig,
            tagged_to_node(QINQ, &full6(1401)),
            too_big6(QINQ, &full6(1401), 1460),
        ),
        forward(
            "ipip-v4-in-v6",
            "tunnel46",
            to_node(&cross4),
            sent(&[], &v6(0, addr6("fd00::1"), addr6("fd00::22"), 4, &routed(&cross4))),
        ),
        forward(
            "ipip-v6-in-v4",
            "tunnel64",
            to_node(&cross6),
            sent(
                &[],
                &super::frame::V4 { tos: 0x12, id: 0, ..v4([10, 0, 0, 1], [10, 0, 0, 22], 41) }
                    .packet(&routed(&cross6)),
            ),
        ),
    ]
}

fn passed() -> Vec<Row> {
    let stranger4 = v4(CLIENT4, [192, 0, 2, 99], TCP).packet(&tcp(1, 80, b""));
    let stranger6 = v6(0, addr6(CLIENT6), addr6("2001:db8::99"), TCP, &tcp(1, 80, b""));
    let mapped = v6(0, addr6(CLIENT6), addr6("::ffff:192.0.2.20"), TCP, &tcp(1, 80, b""));
    let echo4 = v4(CLIENT4, [192, 0, 2, 99], 1).packet(&[8, 0, 0, 0, 0, 1, 0, 1]);
    let echo6 = v6(0, addr6(CLIENT6), addr6("2001:db8::99"), 58, &[128, 0, 0, 0, 0, 1, 0, 1]);
    let options4 =
        super::frame::V4 { options: &[1; 8], ..v4(CLIENT4, [192, 0, 2, 99], TCP) }.packet(&tcp(1, 80, b""));
    let extended6 = v6(0, addr6(CLIENT6), addr6("2001:db8::99"), 0, &extension(TCP, 0, &tcp(1, 80, b"")));
    let esp = v4(CLIENT4, [192, 0, 2, 10], 50).packet(&[0; 16]);
    let wrong4 = v4(CLIENT4, [192, 0, 2, 10], 58).packet(&[128, 0, 0, 0, 0, 1, 0, 1]);
    let wrong6 = web6(1, &[8, 0, 0, 0, 0, 1, 0, 1]);
    let timestamp = v4(CLIENT4, [192, 0, 2, 10], 1).packet(&[13, 0, 0, 0, 0, 1, 0, 1]);
    let fragment =
        super::frame::V4 { fragment: 0x2000, ..v4(CLIENT4, [192, 0, 2, 99], UDP) }.packet(&udp(1, 2, b""));
    vec![
        row("arp", ethernet(NODE_MAC, CLIENT_MAC, &[], 0x0806, &[0; 28]), Fate::Pass(PassReason::NotIp)),
        row("three-vlan-tags", tagged_to_node(&[(0x8100, 1); 3], &web4(80)), Fate::Pass(PassReason::NotIp)),
        row(
            "broadcast-to-somebody-else",
            ethernet([0xff; 6], CLIENT_MAC, &[], 0x0800, &stranger4),
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
        row("echo-to-somebody-else-v4", to_node(&echo4), Fate::Pass(PassReason::NotVip)),
        row("echo-to-somebody-else-v6", to_node(&echo6), Fate::Pass(PassReason::NotVip)),
        row("options-to-somebody-else", to_node(&options4), Fate::Pass(PassReason::NotVip)),
        row("extension-headers-to-somebody-else", to_node(&extended6), Fate::Pass(PassReason::NotVip)),
        row("another-protocol", to_node(&esp), Fate::Pass(PassReason::NotBalanced)),
        row("icmp-of-the-other-family-v4", to_node(&wrong4), Fate::Pass(PassReason::NotBalanced)),
        row("icmp-of-the-other-family-v6", to_node(&wrong6), Fate::Pass(PassReason::NotBalanced)),
        row("a-timestamp-request", to_node(&timestamp), Fate::Pass(PassReason::NotBalanced)),
        row(
            "a-packet-from-a-nat-backends-other-port",
            to_node(&v4([10, 0, 0, 71], CLIENT4, TCP).packet(&tcp(8081, 40_000, b""))),
            Fate::Pass(PassReason::NotVip),
        ),
        row(
            "a-packet-to-a-source-address-that-nobody-waits-for",
            to_node(&v4([10, 0, 0, 81], [10, 0, 0, 200], TCP).packet(&tcp(8080, 9, b""))),
            Fate::Pass(PassReason::NotVip),
        ),
    ]
}

fn dropped() -> Vec<Row> {
    let udp80 = v4(CLIENT4, [192, 0, 2, 10], UDP).packet(&udp(1, 80, b""));
    let empty = v4(CLIENT4, [192, 0, 2, 30], TCP).packet(&tcp(1, 80, b""));
    let fragment = |bits| {
        super::frame::V4 { fragment: bits, ..v4(CLIENT4, [192, 0, 2, 10], TCP) }.packet(&tcp(1, 80, b""))
    };
    // Fragment header: next header, reserved, offset and more-bit, identification.
    let fragment6 = web6(44, &[&[TCP, 0, 0, 9, 0, 0, 0, 77][..], &tcp(1, 80, b"")].concat());
    let ttl4 = |ttl| super::frame::V4 { ttl, ..v4(CLIENT4, [192, 0, 2, 10], TCP) }.packet(&tcp(1, 80, b""));
    let mut last6 = web6(TCP, &tcp(1, 80, b""));
    last6[7] = 1;
    let from4 = |source| v4(source, [192, 0, 2, 10], TCP).packet(&tcp(1, 80, b""));
    let from6 = |source| v6(0, addr6(source), addr6("2001:db8::10"), TCP, &tcp(1, 80, b""));
    let flags4 = |flags| v4(CLIENT4, [192, 0, 2, 10], TCP).packet(&tcp_with(flags, 1, 80, b""));
    let closed = |source| v4(source, [192, 0, 2, 90], TCP).packet(&tcp(1, 80, b""));
    let echo4 = v4(CLIENT4, [192, 0, 2, 10], 1).packet(&[8, 0, 0, 0, 0, 1, 0, 1]);
    let quote = v4([192, 0, 2, 10], CLIENT4, TCP).packet(&tcp_with(ACK, 80, 40_000, b""));
    let foreign = error4(3, 1, 0, [192, 0, 2, 20], &quote[..28]);
    let short_quote = error4(3, 1, 0, [192, 0, 2, 10], &quote[..27]);
    let quoted_fragment = error4(
        3,
        1,
        0,
        [192, 0, 2, 10],
        &super::frame::V4 { fragment: 5, ..v4([192, 0, 2, 10], CLIENT4, TCP) }.packet(&[0; 8]),
    );
    let seven =
        (0..7).fold(tcp(1, 80, b""), |rest, depth| extension(if depth == 0 { TCP } else { 60 }, 0, &rest));
    vec![
        row("unused-port", to_node(&web4(81)), Fate::Drop(DropReason::NoService)),
        row("other-protocol-on-the-port", to_node(&udp80), Fate::Drop(DropReason::NoService)),
        row("service-without-backends", to_node(&empty), Fate::Drop(DropReason::NoBackend)),
        row("later-fragment-alone", to_node(&fragment(0x0003)), Fate::Drop(DropReason::UnknownFragment)),
        row(
            "fragment-far-into-the-packet",
            to_node(&fragment(0x1000)),
            Fate::Drop(DropReason::UnknownFragment),
        ),
        row("later-fragment-alone-v6", to_node(&fragment6), Fate::Drop(DropReason::UnknownFragment)),
        row(
            "broadcast-to-a-vip",
            ethernet([0xff; 6], CLIENT_MAC, &[], 0x0800, &web4(80)),
            Fate::Drop(DropReason::GroupMac),
        ),
        row(
            "multicast-to-a-vip-v6",
            ethernet([0x33, 0x33, 0, 0, 0, 1], CLIENT_MAC, &[], 0x86dd, &web6(TCP, &tcp(1, 80, b""))),
            Fate::Drop(DropReason::GroupMac),
        ),
        row("last-hop-v4", to_node(&ttl4(1)), Fate::Drop(DropReason::TtlExpired)),
        row("no-hop-v4", to_node(&ttl4(0)), Fate::Drop(DropReason::TtlExpired)),
        row("last-hop-v6", to_node(&last6), Fate::Drop(DropReason::TtlExpired)),
        row("from-itself-v4", to_node(&from4([192, 0, 2, 10])), Fate::Drop(DropReason::SpoofedVip)),
        row("from-another-vip-v4", to_node(&from4([192, 0, 2, 20])), Fate::Drop(DropReason::SpoofedVip)),
        row("from-itself-v6", to_node(&from6("2001:db8::10")), Fate::Drop(DropReason::SpoofedVip)),
        row("from-loopback-v4", to_node(&from4([127, 0, 0, 1])), Fate::Drop(DropReason::Martian)),
        row("from-nowhere-v4", to_node(&from4([0, 0, 0, 0])), Fate::Drop(DropReason::Martian)),
        row("from-everybody-v4", to_node(&from4([255; 4])), Fate::Drop(DropReason::Martian)),
        row("from-a-group-v4", to_node(&from4([224, 0, 0, 5])), Fate::Drop(DropReason::Martian)),
        row("from-loopback-v6", to_node(&from6("::1")), Fate::Drop(DropReason::Martian)),
        row("from-nowhere-v6", to_node(&from6("::")), Fate::Drop(DropReason::Martian)),
        row("from-a-group-v6", to_node(&from6("ff02::1")), Fate::Drop(DropReason::Martian)),
        row("no-tcp-flags", to_node(&flags4(0)), Fate::Drop(DropReason::BadTcpFlags)),
        row("syn-and-fin", to_node(&flags4(0x03)), Fate::Drop(DropReason::BadTcpFlags)),
        row("syn-and-rst", to_node(&flags4(0x06)), Fate::Drop(DropReason::BadTcpFlags)),
        row("a-source-not-let-in", to_node(&closed([192, 88, 99, 1])), Fate::Drop(DropReason::SourceDenied)),
        row("a-denied-source", to_node(&closed([203, 0, 113, 5])), Fate::Drop(DropReason::SourceDenied)),
        row(
            "a-denied-part-of-a-network-let-in",
            to_node(&closed([198, 51, 100, 200])),
            Fate::Drop(DropReason::SourceDenied),
        ),
        row(
            "a-denied-source-v6",
            to_node(&v6(0, addr6("2001:db8:bad::1"), addr6("2001:db8::90"), TCP, &tcp(1, 80, b""))),
            Fate::Drop(DropReason::SourceDenied),
        ),
        row(
            "a-connection-that-is-not-known",
            to_node(&v4(CLIENT4, [192, 0, 2, 80], TCP).packet(&tcp_with(ACK, 1, 80, b""))),
            Fate::Drop(DropReason::UnknownConnection),
        ),
        row(
            "an-echo-that-is-cut",
            to_node(&echo4)[..40].to_vec(),
            Fate::Drop(DropReason::TruncatedTransport),
        ),
        row(
            "an-error-about-somebody-elses-packet",
            to_node(&foreign),
            Fate::Drop(DropReason::ForeignIcmpError),
        ),
        row(
            "an-error-that-quotes-seven-bytes",
            to_node(&short_quote),
            Fate::Drop(DropReason::ShortIcmpError),
        ),
        row(
            "an-error-about-a-later-fragment",
            to_node(&quoted_fragment),
            Fate::Drop(DropReason::ShortIcmpError),
        ),
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

/// An ICMP error from a router to a VIP: `rest` is the second word, the MTU for instance.
fn error4(kind: u8, code: u8, rest: u32, vip: [u8; 4], quoted: &[u8]) -> Vec<u8> {
    let [a, b, c, d] = rest.to_be_bytes();
    summed(v4(ROUTER4, vip, 1).packet(&[&[kind, code, 0, 0, a, b, c, d][..], quoted].concat()))
}

fn error6(kind: u8, rest: u32, vip: &str, quoted: &[u8]) -> Vec<u8> {
    let [a, b, c, d] = rest.to_be_bytes();
    let message = [&[kind, 0, 0, 0, a, b, c, d][..], quoted].concat();
    summed(v6(0, addr6("2001:db8:2::1"), addr6(vip), 58, &message))
}

const ROUTER4: [u8; 4] = [203, 0, 114, 1];

/// What a client is told about a packet that is too large.
fn too_big4(tags: &[(u16, u16)], ip: &[u8], mtu: u16) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let message = [&[3, 4, 0, 0, 0, 0, high, low][..], &ip[..544]].concat();
    let (source, destination) = ([ip[16], ip[17], ip[18], ip[19]], [ip[12], ip[13], ip[14], ip[15]]);
    let packet = super::frame::V4 { id: 0, fragment: 0, ..v4(source, destination, 1) }.packet(&message);
    ethernet(CLIENT_MAC, NODE_MAC, tags, 0x0800, &summed(packet))
}

fn too_big6(tags: &[(u16, u16)], ip: &[u8], mtu: u16) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let message = [&[2, 0, 0, 0, 0, 0, high, low][..], &ip[..1232]].concat();
    let address = |at: usize| <[u8; 16]>::try_from(&ip[at..at + 16]).expect("sixteen bytes").into();
    let packet = v6(0, address(24), address(8), 58, &message);
    ethernet(CLIENT_MAC, NODE_MAC, tags, 0x86dd, &summed(packet))
}

fn udp_encapsulated() -> Vec<Row> {
    const VLAN: &[(u16, u16)] = &[(0x8100, 0x0064)];
    let inner4 = summed(v4(CLIENT4, [192, 0, 2, 60], TCP).packet(&tcp(40_000, 80, b"hello")));
    let options4 = summed(
        super::frame::V4 { options: &[1; 4], ..v4(CLIENT4, [192, 0, 2, 60], TCP) }.packet(&tcp(1, 80, b"")),
    );
    let inner6 = summed(v6(0x20, addr6(CLIENT6), addr6("2001:db8::60"), TCP, &tcp(40_000, 80, b"hello")));
    // Its checksum covers the transport header and the pseudo header alone, with the headers between them.
    let behind6 = {
        let plain = summed(v6(0, addr6(CLIENT6), addr6("2001:db8::60"), TCP, &tcp(1, 80, b"odd")));
        v6(0, addr6(CLIENT6), addr6("2001:db8::60"), 60, &extension(TCP, 0, &plain[40..]))
    };
    let cross = summed(v4(CLIENT4, [192, 0, 2, 61], TCP).packet(&tcp(40_000, 80, b"hello")));
    let dns = summed(v4(CLIENT4, [192, 0, 2, 61], UDP).packet(&udp(5353, 53, b"a long query")));
    let unsummed = v4(CLIENT4, [192, 0, 2, 61], UDP).packet(&udp(5353, 53, b"a long query"));
    let quote = v4([192, 0, 2, 61], CLIENT4, TCP).packet(&tcp_with(ACK, 80, 40_000, b""));
    let error = error4(3, 4, 1300, [192, 0, 2, 61], &quote);
    let gue4 = |inner: &[u8], flow: &[u8]| {
        let outer = udp(flow_port(flow), 6080, &routed(inner));
        super::frame::V4 { id: 0, ..v4([10, 0, 0, 1], [10, 0, 0, 61], UDP) }.packet(&outer)
    };
    let gue6 = |class, backend, port, inner: &[u8], flow: &[u8]| {
        let outer = udp(flow_port(flow), port, &routed(inner));
        summed(v6(class, addr6("fd00::1"), addr6(backend), UDP, &outer))
    };
    // The error belongs to the flow of the packet that it quotes.
    let owner = v4(CLIENT4, [192, 0, 2, 61], TCP).packet(&tcp(40_000, 80, b""));
    vec![
        forward("gue-v4", "gue4", to_node(&inner4), sent(&[], &gue4(&inner4, &inner4))),
        forward("gue-v4-vlan", "gue4", tagged_to_node(VLAN, &inner4), sent(VLAN, &gue4(&inner4, &inner4))),
        forward("gue-v4-options", "gue4", to_node(&options4), sent(&[], &gue4(&options4, &options4))),
        forward(
            "gue-v6",
            "gue6",
            to_node(&inner6),
            sent(&[], &gue6(0x20, "fd00::61", 6081, &inner6, &inner6)),
        ),
        forward(
            "gue-v6-vlan",
            "gue6",
            tagged_to_node(VLAN, &inner6),
            sent(VLAN, &gue6(0x20, "fd00::61", 6081, &inner6, &inner6)),
        ),
        forward(
            "gue-v6-extension-header",
            "gue6",
            to_node(&behind6),
            sent(&[], &gue6(0, "fd00::61", 6081, &behind6, &behind6)),
        ),
        forward(
            "gue-v4-in-v6",
            "gue46",
            to_node(&cross),
            sent(&[], &gue6(0, "fd00::62", 6080, &cross, &cross)),
        ),
        forward(
            "gue-udp-v4-in-v6",
            "guedns46",
            to_node(&dns),
            sent(&[], &gue6(0, "fd00::62", 6080, &dns, &dns)),
        ),
        forward(
            "gue-udp-without-checksum-v4-in-v6",
            "guedns46",
            to_node(&unsummed),
            sent(&[], &gue6(0, "fd00::62", 6080, &unsummed, &unsummed)),
        ),
        forward(
            "gue-around-an-icmp-error-v4-in-v6",
            "gue46",
            to_node(&error),
            sent(&[], &gue6(0, "fd00::62", 6080, &error, &owner)),
        ),
    ]
}

/// The source port that follows from a flow: the last 14 bits of the high half of its hash, which only the key's owner knows.
fn flow_port(ip: &[u8]) -> u16 {
    let is_v6 = ip[0] >> 4 == 6;
    let source4 = |at: usize| [ip[at], ip[at + 1], ip[at + 2], ip[at + 3]];
    let key = super::world::flow_key();
    let hash = if is_v6 {
        let l4 = if ip[6] == TCP { 40 } else { 40 + 8 * (usize::from(ip[41]) + 1) };
        let address = |at: usize| <&[u8; 16]>::try_from(&ip[at..at + 16]).expect("sixteen bytes");
        lb_common::hash::flow_v6(&key, address(8), address(24), source4(l4), TCP)
    } else {
        let l4 = usize::from(ip[0] & 0xf) * 4;
        lb_common::hash::flow_v4(&key, source4(12), source4(16), source4(l4), ip[9])
    };
    0xc000 | u16::try_from(hash >> 32 & 0x3fff).expect("14 bits")
}

fn translated() -> Vec<Row> {
    const VLAN: &[(u16, u16)] = &[(0x8100, 0x0064)];
    let (vip, backend, client) = ([192, 0, 2, 70], [10, 0, 0, 71], CLIENT4);
    let before4 = summed(v4(client, vip, TCP).packet(&tcp(40_000, 80, b"hello")));
    let after4 = summed(v4(client, backend, TCP).packet(&tcp(40_000, 8080, b"hello")));
    let options = |destination, port| {
        let header = super::frame::V4 { options: &[1; 8], ..v4(client, destination, TCP) };
        summed(header.packet(&tcp(40_000, port, b"")))
    };
    let dns =
        |destination, port| summed(v4(client, destination, UDP).packet(&udp(5353, port, b"a long query")));
    let unsummed = |destination, port| v4(client, destination, UDP).packet(&udp(5353, port, b"a long query"));
    let six = |destination: &str, port| {
        summed(v6(0, addr6(CLIENT6), addr6(destination), TCP, &tcp(40_000, port, b"hello")))
    };
    let reply = |source, port| summed(v4(source, client, TCP).packet(&tcp_with(0x12, port, 40_000, b"")));
    let reply6 = |source: &str, port| {
        summed(v6(0, addr6(source), addr6(CLIENT6), TCP, &tcp_with(0x12, port, 40_000, b"answer")))
    };
    let dns_reply = |source, port| v4(source, client, UDP).packet(&udp(port, 5353, b"a long answer"));
    let behind = |name, from: &[u8], to: &[u8]| row(name, to_node(from), Fate::Reply { frame: to_node(to) });
    vec![
        forward("nat-v4", "nat4", to_node(&before4), dsr(&[], &after4)),
        forward("nat-v4-vlan", "nat4", tagged_to_node(VLAN, &before4), dsr(VLAN, &after4)),
        forward("nat-v4-options", "nat4", to_node(&options(vip, 80)), dsr(&[], &options(backend, 8080))),
        forward("nat-v4-udp", "natdns4", to_node(&dns(vip, 53)), dsr(&[], &dns(backend, 5353))),
        forward(
            "nat-v4-udp-without-checksum",
            "natdns4",
            to_node(&unsummed(vip, 53)),
            dsr(&[], &unsummed(backend, 5353)),
        ),
        forward("nat-v6", "nat6", to_node(&six("2001:db8::70", 80)), dsr(&[], &six("fd00::71", 8080))),
        forward(
            "nat-v6-vlan",
            "nat6",
            tagged_to_node(VLAN, &six("2001:db8::70", 80)),
            dsr(VLAN, &six("fd00::71", 8080)),
        ),
        behind("nat-reply-v4", &reply(backend, 8080), &reply(vip, 80)),
        behind("nat-reply-v6", &reply6("fd00::71", 8080), &reply6("2001:db8::70", 80)),
        behind("nat-reply-v4-udp-without-checksum", &dns_reply(backend, 5353), &dns_reply(vip, 53)),
    ]
}

fn icmp() -> Vec<Row> {
    const VLAN: &[(u16, u16)] = &[(0x8100, 0x0064)];
    let echo4 = |source, destination, kind, ttl| {
        let header = super::frame::V4 { ttl, ..v4(source, destination, 1) };
        summed(header.packet(&[kind, 0, 0, 0, 0xff, 0xff, 0xf7, 0xff, b'p', b'i', b'n', b'g', 1]))
    };
    let echo6 = |source: &str, destination: &str, kind| {
        summed(v6(0, addr6(source), addr6(destination), 58, &[kind, 0, 0, 0, 0, 1, 0, 1, b'p']))
    };
    let back = |tags, ip: &[u8]| ethernet(CLIENT_MAC, NODE_MAC, tags, ether_type_of(ip), ip);
    let (vip4, vip6) = ([192, 0, 2, 10], "2001:db8::10");
    let quote4 = v4(vip4, CLIENT4, TCP).packet(&tcp_with(ACK, 80, 40_000, b"some data"));
    let quoted_syn = v4(vip4, CLIENT4, TCP).packet(&tcp(80, 40_000, b""));
    let quote6 = v6(0, addr6(vip6), addr6(CLIENT6), TCP, &tcp_with(ACK, 80, 40_000, b"some data"));
    let unreachable = error4(3, 4, 1300, vip4, &quote4);
    let eight = error4(3, 1, 0, vip4, &quote4[..28]);
    let exceeded = error4(11, 0, 0, vip4, &quote4);
    let parameter = error4(12, 0, 0, vip4, &quote4);
    let syn = error4(3, 1, 0, vip4, &quoted_syn);
    let too_big = error6(2, 1300, vip6, &quote6);
    let tunnelled = error4(
        3,
        4,
        1300,
        [192, 0, 2, 20],
        &v4([192, 0, 2, 20], CLIENT4, TCP).packet(&tcp_with(ACK, 80, 40_000, b"")),
    );
    // After nat the packet inside is what the backend has sent.
    let nat = |vip, port| {
        let quote = summed(v4(vip, CLIENT4, TCP).packet(&tcp_with(ACK, port, 40_000, b"some data")));
        error4(3, 4, 1300, vip, &quote)
    };
    let nat_short = |vip, port| {
        error4(3, 4, 1300, vip, &v4(vip, CLIENT4, TCP).packet(&tcp_with(ACK, port, 40_000, b""))[..28])
    };
    let nat6 = |vip: &str, port| {
        let quote = v6(0, addr6(vip), addr6(CLIENT6), TCP, &tcp_with(ACK, port, 40_000, b"some data"));
        error6(2, 1300, vip, &summed(quote))
    };
    vec![
        answer(
            "echo-v4",
            AnswerKind::Echo,
            to_node(&echo4(CLIENT4, vip4, 8, 1)),
            back(&[], &echo4(vip4, CLIENT4, 0, 64)),
        ),
        answer(
            "echo-v4-vlan",
            AnswerKind::Echo,
            tagged_to_node(VLAN, &echo4(CLIENT4, vip4, 8, 64)),
            back(VLAN, &echo4(vip4, CLIENT4, 0, 64)),
        ),
        answer(
            "echo-v6",
            AnswerKind::Echo,
            to_node(&echo6(CLIENT6, vip6, 128)),
            back(&[], &echo6(vip6, CLIENT6, 129)),
        ),
        forward("unreachable-v4", "web4", to_node(&unreachable), dsr(&[], &unreachable)),
        forward("unreachable-v4-vlan", "web4", tagged_to_node(VLAN, &unreachable), dsr(VLAN, &unreachable)),
        forward("an-error-that-quotes-eight-bytes", "web4", to_node(&eight), dsr(&[], &eight)),
        forward("time-exceeded", "web4", to_node(&exceeded), dsr(&[], &exceeded)),
        forward("parameter-problem", "web4", to_node(&parameter), dsr(&[], &parameter)),
        forward("an-error-about-a-syn", "web4", to_node(&syn), dsr(&[], &syn)),
        forward("packet-too-big-v6", "web6", to_node(&too_big), dsr(&[], &too_big)),
        forward(
            "an-error-through-ipip",
            "tunnel4",
            to_node(&tunnelled),
            sent(&[], &outer4(0, [10, 0, 0, 1], [10, 0, 0, 21], &routed(&tunnelled))),
        ),
        forward(
            "an-error-through-nat-v4",
            "nat4",
            to_node(&nat([192, 0, 2, 70], 80)),
            dsr(&[], &nat([10, 0, 0, 71], 8080)),
        ),
        forward(
            "a-short-error-through-nat-v4",
            "nat4",
            to_node(&nat_short([192, 0, 2, 70], 80)),
            dsr(&[], &nat_short([10, 0, 0, 71], 8080)),
        ),
        forward(
            "an-error-through-nat-v6",
            "nat6",
            to_node(&nat6("2001:db8::70", 80)),
            dsr(&[], &nat6("fd00::71", 8080)),
        ),
    ]
}

fn fragments() -> Vec<Row> {
    let piece4 = |destination, bits, id, payload: &[u8]| {
        super::frame::V4 { fragment: bits, id, ..v4(CLIENT4, destination, UDP) }.packet(payload)
    };
    let first = udp(5353, 53, &[7; 32]);
    let (vip, nat_vip, nat_backend) = ([192, 0, 2, 10], [192, 0, 2, 70], [10, 0, 0, 71]);
    let first4 = piece4(vip, 0x2000, 900, &first);
    let later4 = piece4(vip, 0x0005, 900, &[9; 24]);
    let nat_first = piece4(nat_vip, 0x2000, 901, &first);
    let nat_later = |destination| piece4(destination, 0x0005, 901, &[9; 24]);
    let piece6 = |offset: u16, payload: &[u8]| {
        let [high, low] = offset.to_be_bytes();
        let header = [TCP, 0, high, low, 0, 0, 3, 0x86];
        web6(44, &[&header[..], payload].concat())
    };
    let first6 = piece6(1, &tcp(40_000, 80, &[7; 32]));
    let later6 = piece6(8 * 6 + 1, &[9; 24]);
    let atomic6 = piece6(0, &tcp(40_000, 80, b""));
    let after = |name, service, before: &[u8], frame: &[u8], out: &[u8]| Row {
        before: vec![to_node(before)],
        ..forward(name, service, to_node(frame), dsr(&[], out))
    };
    vec![
        forward("first-fragment-v4", "dns4", to_node(&first4), dsr(&[], &first4)),
        after("later-fragment-v4", "dns4", &first4, &later4, &later4),
        after("later-fragment-v4-nat", "natdns4", &nat_first, &nat_later(nat_vip), &nat_later(nat_backend)),
        forward("first-fragment-v6", "web6", to_node(&first6), dsr(&[], &first6)),
        after("later-fragment-v6", "web6", &first6, &later6, &later6),
        forward("atomic-fragment-v6", "web6", to_node(&atomic6), dsr(&[], &atomic6)),
    ]
}

fn neighbors() -> Vec<Row> {
    const VLAN: &[(u16, u16)] = &[(0x8100, 0x0064)];
    const ALL: [u8; 6] = [0xff; 6];
    let arp = |operation: u8, sender_mac: [u8; 6], sender: [u8; 4], target_mac: [u8; 6], target: [u8; 4]| {
        [&[0, 1, 8, 0, 6, 4, 0, operation][..], &sender_mac, &sender, &target_mac, &target].concat()
    };
    let ask = |target| arp(1, CLIENT_MAC, [192, 0, 2, 1], [0; 6], target);
    let vip = [192, 0, 2, 10];
    let told = arp(2, NODE_MAC, vip, CLIENT_MAC, [192, 0, 2, 1]);
    let probe = arp(1, CLIENT_MAC, [0; 4], [0; 6], vip);
    let probed = arp(2, NODE_MAC, vip, CLIENT_MAC, [0; 4]);
    let announced = arp(1, CLIENT_MAC, vip, [0; 6], vip);
    let vip6 = "2001:db8::10";
    let hops = |mut ip: Vec<u8>, limit: u8| {
        ip[7] = limit;
        ip
    };
    let solicit = |source: &str, destination: &str, target: &str, option: &[u8]| {
        let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &addr6(target).octets(), option].concat();
        hops(summed(v6(0, addr6(source), addr6(destination), 58, &message)), 255)
    };
    let advertise = |destination: &str, flags: u8| {
        let message =
            [&[136, 0, 0, 0, flags, 0, 0, 0][..], &addr6(vip6).octets(), &[2, 1], &NODE_MAC].concat();
        hops(summed(v6(0, addr6(vip6), addr6(destination), 58, &message)), 255)
    };
    let option = [&[1, 1][..], &CLIENT_MAC].concat();
    let group = "ff02::1:ff00:10";
    let group_mac = [0x33, 0x33, 0xff, 0, 0, 0x10];
    let asked = solicit("fe80::7", group, vip6, &option);
    let bare = solicit("::", group, vip6, b"");
    let frame = |ether_type, to, tags, payload: &[u8]| ethernet(to, CLIENT_MAC, tags, ether_type, payload);
    let reply = |ether_type, to, tags, payload: &[u8]| ethernet(to, NODE_MAC, tags, ether_type, payload);
    vec![
        answer(
            "arp-for-a-vip",
            AnswerKind::Arp,
            frame(0x0806, ALL, &[], &ask(vip)),
            reply(0x0806, CLIENT_MAC, &[], &told),
        ),
        answer(
            "arp-for-a-vip-vlan",
            AnswerKind::Arp,
            frame(0x0806, ALL, VLAN, &ask(vip)),
            reply(0x0806, CLIENT_MAC, VLAN, &told),
        ),
        answer(
            "arp-for-a-vip-asked-of-us",
            AnswerKind::Arp,
            frame(0x0806, NODE_MAC, &[], &ask(vip)),
            reply(0x0806, CLIENT_MAC, &[], &told),
        ),
        answer(
            "arp-probe",
            AnswerKind::Arp,
            frame(0x0806, ALL, &[], &probe),
            reply(0x0806, CLIENT_MAC, &[], &probed),
        ),
        row(
            "arp-for-somebody-else",
            frame(0x0806, ALL, &[], &ask([192, 0, 2, 99])),
            Fate::Pass(PassReason::NotIp),
        ),
        row(
            "arp-for-a-source-address",
            frame(0x0806, ALL, &[], &ask([10, 0, 0, 200])),
            Fate::Pass(PassReason::NotIp),
        ),
        row("somebody-announces-a-vip", frame(0x0806, ALL, &[], &announced), Fate::Pass(PassReason::NotIp)),
        answer(
            "solicitation-for-a-vip",
            AnswerKind::Neighbor,
            frame(0x86dd, group_mac, &[], &asked),
            reply(0x86dd, CLIENT_MAC, &[], &advertise("fe80::7", 0x60)),
        ),
        answer(
            "solicitation-for-a-vip-vlan",
            AnswerKind::Neighbor,
            frame(0x86dd, group_mac, VLAN, &asked),
            reply(0x86dd, CLIENT_MAC, VLAN, &advertise("fe80::7", 0x60)),
        ),
        answer(
            "solicitation-from-who-wants-the-address",
            AnswerKind::Neighbor,
            frame(0x86dd, group_mac, &[], &bare),
            reply(0x86dd, [0x33, 0x33, 0, 0, 0, 1], &[], &advertise("ff02::1", 0x20)),
        ),
        row(
            "solicitation-for-somebody-else",
            frame(0x86dd, group_mac, &[], &solicit("fe80::7", group, "2001:db8::99", &option)),
            Fate::Pass(PassReason::OtherMac),
        ),
        row(
            "solicitation-from-far-away",
            frame(0x86dd, group_mac, &[], &hops(asked.clone(), 254)),
            Fate::Pass(PassReason::OtherMac),
        ),
    ]
}

fn let_in() -> Vec<Row> {
    let closed = v4([198, 51, 100, 7], [192, 0, 2, 90], TCP).packet(&tcp(1, 80, b""));
    let open = v6(0, addr6(CLIENT6), addr6("2001:db8::90"), TCP, &tcp(1, 80, b""));
    let limited = v4(CLIENT4, [192, 0, 2, 35], TCP).packet(&tcp(1, 80, b""));
    vec![
        forward("a-source-let-in", "closed4", to_node(&closed), dsr(&[], &closed)),
        forward("a-source-not-denied-v6", "open6", to_node(&open), dsr(&[], &open)),
        forward("a-source-within-its-limit", "limited", to_node(&limited), dsr(&[], &limited)),
    ]
}
