//! Golden rows of the receiving side: a frame in, and what has to come of it, on the host and in the kernel.

use std::net::{IpAddr, Ipv6Addr};

use lb_common::abi::decap::{Config, DECAPSULATED, MAX_COUNTERS, SourceKey, VipKey, Words, of_drop, of_pass};
use lb_common::decap::{Decision, DropReason, PassReason, Tables, decide, rewrite};
use lb_common::frame::Frame;
use lb_userspace::dataplane::decap::{Decap, Rules};
use lb_userspace::dataplane::kernel;
use lb_userspace::model::Prefix;

use super::frame::{
    CLIENT_MAC, NODE_MAC, TCP, UDP, V4, ether_type_of, ethernet, extension, internet_checksum, summed,
    tagged_to_node, tcp, to_node, udp, v4, v6,
};
use super::rows::{Outcome, action};
use super::world::NEXT_HOP_MAC;

/// Where GUE goes to in these rows.
pub const GUE_PORT: u16 = 6080;

const BALANCER4: [u8; 4] = [10, 0, 0, 1];
const BACKEND4: [u8; 4] = [10, 0, 0, 21];
const CLIENT4: [u8; 4] = [198, 51, 100, 7];
const VIP4: [u8; 4] = [192, 0, 2, 20];
const BALANCER6: &str = "fd00::1";
const BACKEND6: &str = "fd00::21";
const CLIENT6: &str = "2001:db8:1::7";
const VIP6: &str = "2001:db8::20";

/// IPv4 in IP.
const IPV4: u8 = 4;
/// IPv6 in IP.
const IPV6: u8 = 41;

/// ECN codepoints (RFC 3168).
mod ecn {
    pub(super) const NOT_ECT: u8 = 0;
    pub(super) const ECT_1: u8 = 1;
    pub(super) const ECT_0: u8 = 2;
    pub(super) const CE: u8 = 3;
}

/// What the receiving side of the rows was told: the balancer of [`world`](super::world), and the VIPs that it encapsulates for.
#[must_use]
pub fn rules() -> Rules {
    let vips = [
        "192.0.2.20",
        "192.0.2.21",
        "192.0.2.50",
        "192.0.2.60",
        "192.0.2.61",
        "2001:db8::20",
        "2001:db8::21",
        "2001:db8::60",
    ];
    Rules {
        macs: vec![[2, 0, 0, 0, 0, 0x77], NODE_MAC, NEXT_HOP_MAC],
        sources: vec![
            prefix("10.0.0.0", 30),
            prefix("172.16.0.0", 16),
            // Narrower ones inside a wider one change nothing.
            prefix("172.16.5.0", 24),
            prefix("fd00::1", 128),
            prefix("fd00:0:0:7::", 64),
        ],
        vips: vips.map(|text| text.parse().expect("an address")).into(),
        gue_port: GUE_PORT,
    }
}

fn prefix(text: &str, length_bits: u8) -> Prefix {
    Prefix { address: text.parse().expect("an address"), length_bits }
}

/// The rules as the host looks them up: no key is made by what is tested.
pub struct Host {
    rules: Rules,
    config: Config,
}

impl Host {
    /// Those of [`rules`].
    #[must_use]
    pub fn new() -> Self {
        let rules = rules();
        Self { config: rules.config(), rules }
    }

    /// Does with a frame what the program does.
    #[must_use]
    pub fn run(&self, frame: &[u8]) -> Outcome {
        let mut bytes = frame.to_vec();
        let decision = decide(&Frame::from_bytes(&mut bytes), self);
        let (action, counter) = match decision {
            Decision::Decapsulate(decap) => match rewrite(&mut Frame::from_bytes(&mut bytes), &decap) {
                Some(()) => {
                    bytes.drain(..decap.outer_len());
                    (action::PASS, DECAPSULATED)
                }
                None => (action::DROP, of_drop(DropReason::NotMoved)),
            },
            Decision::Pass(reason) => (action::PASS, of_pass(reason)),
            Decision::Drop(reason) => (action::DROP, of_drop(reason)),
        };
        Outcome { action, frame: bytes, counter }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// The bits of an address, first one highest, and how many there are.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

fn address(family: u64, words: Words) -> IpAddr {
    let bytes: [u8; 16] = words.map(u64::to_ne_bytes).concat().try_into().expect("two words have 16 bytes");
    match (family, bytes) {
        (4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => IpAddr::from([a, b, c, d]),
        (6, bytes) => IpAddr::from(bytes),
        (family, bytes) => panic!("no address: family {family}, {bytes:?}"),
    }
}

impl Tables for Host {
    fn config(&self) -> Option<&Config> {
        Some(&self.config)
    }

    fn is_source(&self, key: &SourceKey) -> bool {
        let (source, width) = bits(address(u64::from(key.family), key.address));
        self.rules.sources.iter().any(|prefix| {
            let (fixed, of) = bits(prefix.address);
            width == of && (source ^ fixed).leading_zeros() >= u32::from(prefix.length_bits)
        })
    }

    fn is_vip(&self, key: &VipKey) -> bool {
        self.rules.vips.contains(&address(key.family, key.address))
    }
}

/// Loads the program with [`rules`].
///
/// # Errors
/// When it does not load.
pub fn in_kernel() -> Result<Decap, kernel::Error> {
    Decap::load(&rules())
}

/// Runs a frame of at least 14 bytes through the loaded program.
///
/// # Errors
/// When the kernel refuses the frame, or another number of counters than one has moved by one packet.
pub fn run_in_kernel(program: &mut Decap, frame: &[u8]) -> Result<Outcome, String> {
    let before = counters(program)?;
    let result = program.test_run(frame).map_err(|error| error.to_string())?;
    let after = counters(program)?;
    let moved: Vec<(u32, u64, u64)> = (0..)
        .zip(before.iter().zip(&after))
        .filter(|(_, (before, after))| before != after)
        .map(|(index, (before, after))| (index, after.0 - before.0, after.1 - before.1))
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

/// Packets and bytes of every counter.
fn counters(program: &Decap) -> Result<Vec<(u64, u64)>, String> {
    let read = |index| program.counter(index).map(|counter| (counter.packets, counter.bytes));
    (0..MAX_COUNTERS).map(|index| read(index).map_err(|error| error.to_string())).collect()
}

/// A frame, and what has to come of it.
pub struct Row {
    /// What it shows.
    pub name: &'static str,
    /// The frame as it comes in.
    pub frame: Vec<u8>,
    /// What has to come of it.
    pub outcome: Outcome,
}

/// On to the stack without its outer header, as these bytes.
fn taken(name: &'static str, frame: Vec<u8>, out: Vec<u8>) -> Row {
    Row { name, frame, outcome: Outcome { action: action::PASS, frame: out, counter: DECAPSULATED } }
}

/// On to the stack, unchanged.
fn passed(name: &'static str, reason: PassReason, frame: Vec<u8>) -> Row {
    let outcome = Outcome { action: action::PASS, frame: frame.clone(), counter: of_pass(reason) };
    Row { name, frame, outcome }
}

/// Nowhere.
fn dropped(name: &'static str, reason: DropReason, frame: Vec<u8>) -> Row {
    let outcome = Outcome { action: action::DROP, frame: frame.clone(), counter: of_drop(reason) };
    Row { name, frame, outcome }
}

fn addr6(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

/// An outer header as balancers write it: no identification, don't-fragment set.
fn outer4(protocol: u8) -> V4<'static> {
    V4 { id: 0, ..v4(BALANCER4, BACKEND4, protocol) }
}

fn outer6(traffic_class: u8, next: u8, payload: &[u8]) -> Vec<u8> {
    v6(traffic_class, addr6(BALANCER6), addr6(BACKEND6), next, payload)
}

fn inner4(tos: u8) -> Vec<u8> {
    V4 { tos, ttl: 63, ..v4(CLIENT4, VIP4, TCP) }.packet(&tcp(40_000, 80, b"hello"))
}

fn inner6(traffic_class: u8) -> Vec<u8> {
    v6(traffic_class, addr6(CLIENT6), addr6(VIP6), TCP, &tcp(40_000, 80, b"hello"))
}

/// The frame with the checksum of its outer header made right, if it is untagged IPv4.
#[must_use]
pub fn with_outer_sum(mut frame: Vec<u8>) -> Vec<u8> {
    let header = frame.get(14).map_or(0, |first| usize::from(first & 0xf) * 4);
    if frame.get(12..14) == Some(&[0x08, 0x00]) && header >= 20 && frame.len() >= 14 + header {
        frame[24..26].fill(0);
        let sum = internet_checksum(&frame[14..14 + header]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

fn gue(inner: &[u8]) -> Vec<u8> {
    udp(0xc123, GUE_PORT, inner)
}

/// The whole table.
#[must_use]
pub fn rows() -> Vec<Row> {
    [ipip(), udp_encapsulated(), strangers(), malformed(), congested()].into_iter().flatten().collect()
}

fn ipip() -> Vec<Row> {
    const VLAN: &[(u16, u16)] = &[(0x8100, 0x2064)];
    const QINQ: &[(u16, u16)] = &[(0x88a8, 0x0064), (0x8100, 0x00c8)];
    let (four, six) = (inner4(0), inner6(0));
    let options = V4 { options: &[0x94, 4, 0, 0, 1, 1, 1, 0], ..outer4(IPV4) };
    let most_options = V4 { options: &[1; 40], ..outer4(IPV6) };
    // Nobody is nearer to the VIP than this host: the last hop is as good as any.
    let last_hop = V4 { ttl: 1, ..v4(CLIENT4, VIP4, TCP) }.packet(&tcp(1, 80, b""));
    let inner_options = V4 { options: &[1, 1, 1, 0], ..v4(CLIENT4, VIP4, TCP) }.packet(&tcp(1, 80, b""));
    // The rest of a packet that the client has fragmented goes where its beginning went.
    let inner_fragment = V4 { fragment: 0x00b9, ..v4(CLIENT4, VIP4, TCP) }.packet(b"the rest");
    let inner_extended = v6(0, addr6(CLIENT6), addr6(VIP6), 60, &extension(TCP, 0, &tcp(1, 80, b"")));
    let mut padded = to_node(&outer4(IPV4).packet(&four));
    padded.extend([0; 6]);
    let mut padded_out = to_node(&four);
    padded_out.extend([0; 6]);
    let spread = V4 { source: [172, 16, 0xab, 0xcd].into(), ..outer4(IPV4) };
    let spread6 = v6(0, addr6("fd00:0:0:7::beef"), addr6(BACKEND6), IPV6, &six);
    let large = v4(CLIENT4, VIP4, TCP).packet(&tcp(1, 80, &[7; 1400]));
    let with_room = [four.clone(), vec![0x5a; 9]].concat();
    vec![
        taken("ipip-v4-in-v4", to_node(&outer4(IPV4).packet(&four)), to_node(&four)),
        taken("ipip-v6-in-v4", to_node(&outer4(IPV6).packet(&six)), to_node(&six)),
        taken("ipip-v4-in-v6", to_node(&outer6(0, IPV4, &four)), to_node(&four)),
        taken("ipip-v6-in-v6", to_node(&outer6(0, IPV6, &six)), to_node(&six)),
        taken(
            "ipip-v4-in-v4-vlan",
            tagged_to_node(VLAN, &outer4(IPV4).packet(&four)),
            tagged_to_node(VLAN, &four),
        ),
        taken(
            "ipip-v6-in-v4-two-vlan-tags",
            tagged_to_node(QINQ, &outer4(IPV6).packet(&six)),
            tagged_to_node(QINQ, &six),
        ),
        taken(
            "ipip-v4-in-v6-two-vlan-tags",
            tagged_to_node(QINQ, &outer6(0, IPV4, &four)),
            tagged_to_node(QINQ, &four),
        ),
        taken("ipip-outer-options", to_node(&options.packet(&four)), to_node(&four)),
        taken("ipip-most-outer-options", to_node(&most_options.packet(&six)), to_node(&six)),
        taken("ipip-last-hop", to_node(&outer4(IPV4).packet(&last_hop)), to_node(&last_hop)),
        taken("ipip-inner-options", to_node(&outer4(IPV4).packet(&inner_options)), to_node(&inner_options)),
        taken(
            "ipip-inner-fragment",
            to_node(&outer4(IPV4).packet(&inner_fragment)),
            to_node(&inner_fragment),
        ),
        taken(
            "ipip-inner-extension-headers",
            to_node(&outer4(IPV6).packet(&inner_extended)),
            to_node(&inner_extended),
        ),
        taken("ipip-ethernet-padding", padded, padded_out),
        taken("ipip-outer-longer-than-inner", to_node(&outer4(IPV4).packet(&with_room)), to_node(&with_room)),
        taken("ipip-source-of-a-prefix", to_node(&spread.packet(&four)), to_node(&four)),
        taken("ipip-v6-source-of-a-prefix", to_node(&spread6), to_node(&six)),
        taken("ipip-large", to_node(&outer4(IPV4).packet(&large)), to_node(&large)),
    ]
}

fn udp_encapsulated() -> Vec<Row> {
    const VLAN: &[(u16, u16)] = &[(0x8100, 0x0064)];
    let (four, six) = (inner4(0), inner6(0));
    let options = V4 { options: &[1, 1, 1, 0], ..outer4(UDP) };
    let with_sum = summed(outer6(0, UDP, &gue(&four)));
    // Variant 0 has a header of its own: no flags, IPv4 inside.
    let variant_0 = [vec![0, IPV4, 0, 0], four.clone()].concat();
    let other_port = udp(0xc123, GUE_PORT + 1, &four);
    let from_port = udp(GUE_PORT, 0xc123, &four);
    let with_len = |len: u16| {
        let mut datagram = gue(&four);
        datagram[4..6].copy_from_slice(&len.to_be_bytes());
        to_node(&outer4(UDP).packet(&datagram))
    };
    let headers_only = udp(0xc123, GUE_PORT, b"");
    vec![
        taken("gue-v4-in-v4", to_node(&outer4(UDP).packet(&gue(&four))), to_node(&four)),
        taken("gue-v6-in-v4", to_node(&outer4(UDP).packet(&gue(&six))), to_node(&six)),
        taken("gue-v4-in-v6", to_node(&with_sum), to_node(&four)),
        taken("gue-v6-in-v6", to_node(&summed(outer6(0, UDP, &gue(&six)))), to_node(&six)),
        taken("gue-v6-in-v6-without-checksum", to_node(&outer6(0, UDP, &gue(&six))), to_node(&six)),
        taken(
            "gue-v4-in-v4-vlan",
            tagged_to_node(VLAN, &outer4(UDP).packet(&gue(&four))),
            tagged_to_node(VLAN, &four),
        ),
        taken("gue-outer-options", to_node(&options.packet(&gue(&four))), to_node(&four)),
        passed(
            "gue-other-variant",
            PassReason::NoInnerPacket,
            to_node(&outer4(UDP).packet(&udp(0xc123, GUE_PORT, &variant_0))),
        ),
        passed("gue-other-port", PassReason::NotEncapsulated, to_node(&outer4(UDP).packet(&other_port))),
        passed("gue-v6-other-port", PassReason::NotEncapsulated, to_node(&outer6(0, UDP, &other_port))),
        passed("gue-from-the-port", PassReason::NotEncapsulated, to_node(&outer4(UDP).packet(&from_port))),
        // 8 bytes of UDP, 20 of IP, 20 of TCP and 5 of data make 53.
        passed("gue-short-udp", PassReason::BadLength, with_len(52)),
        passed("gue-long-udp", PassReason::BadLength, with_len(54)),
        passed("gue-no-udp-length", PassReason::BadLength, with_len(0)),
        // Nothing is behind the UDP header to tell what it is, in a frame that ends there.
        passed("gue-empty", PassReason::Truncated, to_node(&outer4(UDP).packet(&headers_only))),
        passed("gue-cut-udp-header", PassReason::Truncated, to_node(&outer4(UDP).packet(&headers_only[..7]))),
    ]
}

fn strangers() -> Vec<Row> {
    let (four, six) = (inner4(0), inner6(0));
    let from = |source: [u8; 4]| V4 { source: source.into(), ..outer4(IPV4) }.packet(&four);
    let from6 = |source: &str| v6(0, addr6(source), addr6(BACKEND6), IPV6, &six);
    let to = |vip: [u8; 4]| v4(CLIENT4, vip, TCP).packet(&tcp(1, 80, b""));
    let to6 = |vip: &str| v6(0, addr6(CLIENT6), addr6(vip), TCP, &tcp(1, 80, b""));
    let ours = outer4(IPV4).packet(&four);
    let frame_to = |mac: [u8; 6]| ethernet(mac, CLIENT_MAC, &[], ether_type_of(&ours), &ours);
    // A VIP's digits in the other family, and as an IPv4 address inside an IPv6 one.
    let mapped = to6("::ffff:192.0.2.20");
    let shifted = to6("c000:214::");
    let mapped_source = from6("::ffff:10.0.0.1");
    let shifted_source = from6("a00:1::");
    let destination_options = extension(IPV6, 0, &six);
    vec![
        passed("unlisted-source", PassReason::UnlistedSource, to_node(&from([10, 0, 0, 4]))),
        passed("unlisted-source-next-prefix", PassReason::UnlistedSource, to_node(&from([172, 17, 0, 0]))),
        passed("unlisted-source-v6", PassReason::UnlistedSource, to_node(&from6("fd00::2"))),
        passed(
            "unlisted-source-v6-next-prefix",
            PassReason::UnlistedSource,
            to_node(&from6("fd00:0:0:8::1")),
        ),
        passed("unlisted-source-mapped", PassReason::UnlistedSource, to_node(&mapped_source)),
        passed("unlisted-source-of-other-family", PassReason::UnlistedSource, to_node(&shifted_source)),
        passed(
            "unlisted-source-gue",
            PassReason::UnlistedSource,
            to_node(&V4 { source: [10, 0, 0, 4].into(), ..outer4(UDP) }.packet(&gue(&four))),
        ),
        passed("unlisted-vip", PassReason::UnlistedVip, to_node(&outer4(IPV4).packet(&to([192, 0, 2, 99])))),
        passed(
            "unlisted-vip-v6",
            PassReason::UnlistedVip,
            to_node(&outer4(IPV6).packet(&to6("2001:db8::99"))),
        ),
        passed("unlisted-vip-mapped", PassReason::UnlistedVip, to_node(&outer4(IPV6).packet(&mapped))),
        passed(
            "unlisted-vip-of-other-family",
            PassReason::UnlistedVip,
            to_node(&outer4(IPV6).packet(&shifted)),
        ),
        passed(
            "unlisted-vip-gue",
            PassReason::UnlistedVip,
            to_node(&outer4(UDP).packet(&gue(&to([192, 0, 2, 99])))),
        ),
        passed("other-mac", PassReason::OtherMac, frame_to([2, 0, 0, 0, 0, 9])),
        passed("other-mac-broadcast", PassReason::OtherMac, frame_to([0xff; 6])),
        passed("not-ip", PassReason::NotIp, ethernet(NODE_MAC, CLIENT_MAC, &[], 0x0806, &[0; 46])),
        passed("three-vlan-tags", PassReason::NotIp, tagged_to_node(&[(0x8100, 1); 3], &ours)),
        passed("not-encapsulated-v4", PassReason::NotEncapsulated, to_node(&four)),
        passed("not-encapsulated-v6", PassReason::NotEncapsulated, to_node(&six)),
        passed(
            "not-encapsulated-extension-headers",
            PassReason::NotEncapsulated,
            to_node(&outer6(0, 60, &destination_options)),
        ),
    ]
}

fn malformed() -> Vec<Row> {
    let (four, six) = (inner4(0), inner6(0));
    let ours = || to_node(&outer4(IPV4).packet(&four));
    let fragment =
        |protocol, fragment, payload: &[u8]| to_node(&V4 { fragment, ..outer4(protocol) }.packet(payload));
    // Next header, reserved, offset and M flag, identification (RFC 8200, 4.5).
    let fragment6 = [vec![IPV6, 0, 0, 1, 0, 0, 0, 7], six.clone()].concat();
    let changed = |mut frame: Vec<u8>, at: usize, bytes: &[u8]| {
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let resummed = |frame: Vec<u8>, at: usize, bytes: &[u8]| with_outer_sum(changed(frame, at, bytes));
    let total = |len: usize| u16::try_from(len).expect("a packet of a test is short").to_be_bytes();
    let (inner, outer) = (four.len(), four.len() + 20);
    let wrong_family = outer4(IPV6).packet(&four);
    let bad_options = V4 { options: &[0x94, 4, 0, 0], ..outer4(IPV4) }.packet(&four);
    vec![
        passed("fragment-first", PassReason::Fragment, fragment(IPV4, 0x2000, &four)),
        passed("fragment-later", PassReason::Fragment, fragment(IPV4, 0x0010, &four)),
        passed("fragment-gue", PassReason::Fragment, fragment(UDP, 0x2000, &gue(&four))),
        passed("fragment-v6", PassReason::Fragment, to_node(&outer6(0, 44, &fragment6))),
        passed("bad-checksum", PassReason::BadChecksum, changed(ours(), 24, &[0x12, 0x34])),
        passed("bad-checksum-ttl", PassReason::BadChecksum, changed(ours(), 22, &[63])),
        passed("bad-checksum-options", PassReason::BadChecksum, changed(to_node(&bad_options), 35, &[8])),
        passed("bad-version", PassReason::BadIpHeader, changed(ours(), 14, &[0x65])),
        passed("bad-header-length", PassReason::BadIpHeader, changed(ours(), 14, &[0x44])),
        passed(
            "bad-version-v6",
            PassReason::BadIpHeader,
            changed(to_node(&outer6(0, IPV6, &six)), 14, &[0x50]),
        ),
        passed(
            "truncated-eth-type-of-tag",
            PassReason::Truncated,
            tagged_to_node(&[(0x8100, 1)], &[])[..15].to_vec(),
        ),
        passed("truncated-outer", PassReason::Truncated, ours()[..33].to_vec()),
        passed("truncated-outer-v6", PassReason::Truncated, to_node(&outer6(0, IPV6, &six))[..53].to_vec()),
        passed("truncated-inner", PassReason::BadLength, ours()[..40].to_vec()),
        passed("truncated-by-one", PassReason::BadLength, ours()[..14 + outer - 1].to_vec()),
        passed("outer-one-too-long", PassReason::BadLength, resummed(ours(), 16, &total(outer + 1))),
        passed("outer-shorter-than-its-header", PassReason::BadLength, resummed(ours(), 16, &total(19))),
        passed("outer-shorter-than-inner", PassReason::BadLength, resummed(ours(), 16, &total(outer - 1))),
        passed("outer-v6-one-too-long", PassReason::BadLength, {
            let frame = to_node(&outer6(0, IPV6, &six));
            changed(frame, 18, &total(six.len() + 1))
        }),
        passed("inner-one-too-long", PassReason::BadLength, changed(ours(), 36, &total(inner + 1))),
        passed("inner-shorter-than-its-header", PassReason::BadLength, changed(ours(), 36, &total(19))),
        passed("inner-v6-one-too-long", PassReason::BadLength, {
            let frame = to_node(&outer4(IPV6).packet(&six));
            changed(frame, 38, &total(six.len() - 40 + 1))
        }),
        passed("inner-cut", PassReason::Truncated, to_node(&outer4(IPV4).packet(&four[..19]))),
        passed("inner-v6-cut", PassReason::Truncated, to_node(&outer4(IPV6).packet(&six[..39]))),
        passed("nothing-inside", PassReason::Truncated, to_node(&outer4(IPV4).packet(b""))),
        passed("inner-of-other-family", PassReason::NoInnerPacket, to_node(&wrong_family)),
        passed("inner-bad-header-length", PassReason::NoInnerPacket, changed(ours(), 34, &[0x41])),
        passed("inner-bad-version", PassReason::NoInnerPacket, changed(ours(), 34, &[0x55])),
    ]
}

fn congested() -> Vec<Row> {
    // DSCP EF inside, another one outside: only the two last bits of the outer one count.
    let marked4 =
        |outer: u8, inner: u8| V4 { tos: 0x20 | outer, ..outer4(IPV4) }.packet(&inner4(0xb8 | inner));
    let marked6 = |outer: u8, inner: u8| outer6(0x20 | outer, IPV6, &inner6(0xb8 | inner));
    let out4 = |bits: u8| to_node(&inner4(0xb8 | bits));
    let out6 = |bits: u8| to_node(&inner6(0xb8 | bits));
    vec![
        taken("ecn-v4-ce-on-ect-0", to_node(&marked4(ecn::CE, ecn::ECT_0)), out4(ecn::CE)),
        taken("ecn-v4-ce-on-ect-1", to_node(&marked4(ecn::CE, ecn::ECT_1)), out4(ecn::CE)),
        taken("ecn-v4-ce-on-ce", to_node(&marked4(ecn::CE, ecn::CE)), out4(ecn::CE)),
        taken("ecn-v4-ect-1-on-ect-0", to_node(&marked4(ecn::ECT_1, ecn::ECT_0)), out4(ecn::ECT_1)),
        taken("ecn-v4-not-ect-on-ce", to_node(&marked4(ecn::NOT_ECT, ecn::CE)), out4(ecn::CE)),
        taken("ecn-v4-not-ect-on-ect-0", to_node(&marked4(ecn::NOT_ECT, ecn::ECT_0)), out4(ecn::ECT_0)),
        taken("ecn-v4-ect-0-on-not-ect", to_node(&marked4(ecn::ECT_0, ecn::NOT_ECT)), out4(ecn::NOT_ECT)),
        dropped("ecn-v4-ce-on-not-ect", DropReason::NotEcnCapable, to_node(&marked4(ecn::CE, ecn::NOT_ECT))),
        taken("ecn-v6-ce-on-ect-0", to_node(&marked6(ecn::CE, ecn::ECT_0)), out6(ecn::CE)),
        taken("ecn-v6-ce-on-ect-1", to_node(&marked6(ecn::CE, ecn::ECT_1)), out6(ecn::CE)),
        taken("ecn-v6-ect-1-on-ect-0", to_node(&marked6(ecn::ECT_1, ecn::ECT_0)), out6(ecn::ECT_1)),
        taken("ecn-v6-ect-0-on-ce", to_node(&marked6(ecn::ECT_0, ecn::CE)), out6(ecn::CE)),
        dropped("ecn-v6-ce-on-not-ect", DropReason::NotEcnCapable, to_node(&marked6(ecn::CE, ecn::NOT_ECT))),
        taken(
            "ecn-v6-in-v4-ce-on-ect-0",
            to_node(&V4 { tos: ecn::CE, ..outer4(IPV6) }.packet(&inner6(ecn::ECT_0))),
            to_node(&inner6(ecn::CE)),
        ),
        taken(
            "ecn-gue-ce-on-ect-0",
            to_node(&V4 { tos: ecn::CE, ..outer4(UDP) }.packet(&gue(&inner4(ecn::ECT_0)))),
            to_node(&inner4(ecn::CE)),
        ),
    ]
}
