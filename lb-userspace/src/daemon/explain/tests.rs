//! Packets in, chains out, over memory.

use std::collections::HashMap;

use lb_common::hash::FlowKey;
use tokio::sync::mpsc;

use super::*;
use crate::cli::explain::page;
use crate::config::{Overrides, parse};
use crate::dataplane::memory::Memory;
use crate::dataplane::tables::Sizes;
use crate::neighbor::{Interface, NextHop, Snapshot};

const CONFIG: &str = r#"
[node]
name = "lb1"
interfaces = ["eth0"]

[[service]]
name = "web"
address = "192.0.2.10"
port = 80
protocol = "tcp"
mode = "dsr"
allow = ["198.51.100.0/24"]
deny = ["198.51.100.128/25"]
backend = [{ name = "web1", address = "10.0.0.11", weight = 3 }]

[[service]]
name = "web6"
address = "2001:db8::10"
port = 80
protocol = "tcp"
mode = "ipip"
backend = [{ name = "web1", address = "10.0.0.21" }]

[[service]]
name = "gue"
address = "192.0.2.20"
port = 80
protocol = "tcp"
mode = "gue"
backend = [{ name = "web1", address = "10.0.0.22" }]

[[service]]
name = "dns"
address = "192.0.2.10"
port = 53
protocol = "udp"
mode = "nat"
tracking = "full"
backend = [{ name = "dns1", address = "10.0.1.31", port = 5353 }]

[[service]]
name = "shop"
address = "192.0.2.30"
port = 80
protocol = "tcp"
mode = "fullnat"
source_addresses = ["10.0.0.200"]
backend = [{ name = "shop1", address = "10.0.0.41", port = 8080 }]

[[service]]
name = "limited"
address = "192.0.2.40"
port = 80
protocol = "tcp"
mode = "dsr"
rate_limit = "1/m"
rate_burst = 1
backend = [{ name = "web1", address = "10.0.0.51" }]
"#;

/// A node with eth0 and eth1, behind which backends of 10.0.1.0/24 are; all next hops are known.
fn core() -> Core<Memory> {
    let config = parse("test.toml", CONFIG, &Overrides::default()).unwrap().config;
    let hop = |address: IpAddr| {
        let second = address.to_string().starts_with("10.0.1.");
        let (interface, interface_index) =
            if second { ("eth1".to_owned(), 8) } else { ("eth0".to_owned(), 7) };
        Ok(NextHop {
            interface,
            interface_index,
            gateway: None,
            mac: [2, 0, 0, 0, 0, 0x99],
            source_mac: [2, 0, 0, 0, 0, 7],
            source_address: "10.0.0.1".parse().unwrap(),
            mtu_bytes: 1500,
        })
    };
    let interface = |name: &str, last| Interface {
        name: name.to_owned(),
        mac: Some([2, 0, 0, 0, 0, last]),
        mtu_bytes: 1500,
    };
    let snapshot = Snapshot {
        next_hops: super::super::core::addresses(&config).into_iter().map(|one| (one, hop(one))).collect(),
        interfaces: HashMap::from([(7, interface("eth0", 7)), (8, interface("eth1", 8))]),
    };
    let sizes = Sizes { slots: 1 << 16, flows: 1 << 10, fragments: 1 << 9, connections: 1 << 10 };
    let memory = Memory::new(&sizes, FlowKey::from_secret([7; 16])).unwrap();
    let (health_events, _) = mpsc::channel(1);
    let mut core = Core::new(config, memory, snapshot, health_events);
    core.reconcile().unwrap();
    core
}

fn asked(protocol: Transport, from: &str, to: &str, syn: bool) -> Question {
    let header = types::Header { from: from.to_owned(), to: to.to_owned(), protocol, syn };
    Question { interface: None, packet: Asked::Header(header) }
}

fn tcp(from: &str, to: &str, syn: bool) -> Question {
    asked(Transport::Tcp, from, to, syn)
}

/// The lines of the page without what the program says: there is none.
fn told(core: &mut Core<Memory>, question: &Question) -> Vec<String> {
    let answer = explain(core, question).unwrap();
    assert_eq!(answer.confirmation.result, Confirmed::NotRun);
    assert_eq!(answer.confirmation.detail.as_deref(), Some("there is no program behind these tables"));
    let page = page(&answer);
    page.lines().filter(|line| !line.starts_with("confirmed")).map(str::to_owned).collect()
}

#[test]
fn every_packet_has_its_chain() {
    let (from4, from6) = ("198.51.100.7:40000", "[2001:db8:1::7]:40000");
    let rows: [(Question, &[&str]); 11] = [
        (
            tcp(from4, "192.0.2.10:80", true),
            &[
                "packet     tcp 198.51.100.7:40000 -> 192.0.2.10:80, syn, 54 bytes to 02:00:00:00:00:07, in by eth0",
                "service    web (tcp 192.0.2.10:80, dsr)",
                "list       allowed by 198.51.100.0/24",
                "slot       640 of 1021: settled, current web1",
                "backend    web/web1 10.0.0.11, unchecked, ready, weight 3 (by its slot)",
                "rewrite    MAC 02:00:00:00:00:07 -> 02:00:00:00:00:99",
                "egress     eth0 (XDP_TX)",
                "verdict    forwarded",
            ],
        ),
        (
            tcp("198.51.100.200:1", "192.0.2.10:80", true),
            &[
                "packet     tcp 198.51.100.200:1 -> 192.0.2.10:80, syn, 54 bytes to 02:00:00:00:00:07, in by eth0",
                "service    web (tcp 192.0.2.10:80, dsr)",
                "list       denied by 198.51.100.128/25",
                "verdict    dropped: source-denied",
            ],
        ),
        (
            tcp("203.0.113.1:1", "192.0.2.10:80", true),
            &[
                "packet     tcp 203.0.113.1:1 -> 192.0.2.10:80, syn, 54 bytes to 02:00:00:00:00:07, in by eth0",
                "service    web (tcp 192.0.2.10:80, dsr)",
                "list       denied: no prefix allows it",
                "verdict    dropped: source-denied",
            ],
        ),
        (
            tcp(from6, "[2001:db8::10]:80", false),
            &[
                "packet     tcp [2001:db8:1::7]:40000 -> [2001:db8::10]:80, ack, 74 bytes to 02:00:00:00:00:07, in by eth0",
                "service    web6 (tcp [2001:db8::10]:80, ipip)",
                "list       no list",
                "slot       577 of 1021: settled, current web1",
                "backend    web6/web1 10.0.0.21, unchecked, ready, weight 1 (by its slot)",
                "rewrite    MAC 02:00:00:00:00:07 -> 02:00:00:00:00:99, outer ipip 10.0.0.1 -> 10.0.0.21",
                "egress     eth0 (XDP_TX)",
                "verdict    forwarded",
            ],
        ),
        (
            tcp(from4, "192.0.2.20:80", false),
            &[
                "packet     tcp 198.51.100.7:40000 -> 192.0.2.20:80, ack, 54 bytes to 02:00:00:00:00:07, in by eth0",
                "service    gue (tcp 192.0.2.20:80, gue)",
                "list       no list",
                "slot       1020 of 1021: settled, current web1",
                "backend    gue/web1 10.0.0.22, unchecked, ready, weight 1 (by its slot)",
                "rewrite    MAC 02:00:00:00:00:07 -> 02:00:00:00:00:99, outer udp 10.0.0.1:65050 -> 10.0.0.22:6080",
                "egress     eth0 (XDP_TX)",
                "verdict    forwarded",
            ],
        ),
        (
            asked(Transport::Udp, from4, "192.0.2.10:53", false),
            &[
                "packet     udp 198.51.100.7:40000 -> 192.0.2.10:53, 42 bytes to 02:00:00:00:00:07, in by eth0",
                "service    dns (udp 192.0.2.10:53, nat)",
                "list       no list",
                "slot       609 of 1021: settled, current dns1; flow not remembered, would be from now on",
                "backend    dns/dns1 10.0.1.31, unchecked, ready, weight 1 (by its slot)",
                "rewrite    MAC 02:00:00:00:00:07 -> 02:00:00:00:00:99, 198.51.100.7:40000 -> 10.0.1.31:5353",
                "egress     eth1 (XDP_REDIRECT)",
                "verdict    forwarded",
            ],
        ),
        (
            tcp(from4, "192.0.2.30:80", true),
            &[
                "packet     tcp 198.51.100.7:40000 -> 192.0.2.30:80, syn, 54 bytes to 02:00:00:00:00:07, in by eth0",
                "service    shop (tcp 192.0.2.30:80, fullnat)",
                "list       no list",
                "slot       378 of 1021: settled, current shop1",
                "backend    shop/shop1 10.0.0.41, unchecked, ready, weight 1 (by its slot)",
                "rewrite    MAC 02:00:00:00:00:07 -> 02:00:00:00:00:99, 10.0.0.200:32668 -> 10.0.0.41:8080",
                "egress     eth0 (XDP_TX)",
                "verdict    forwarded",
            ],
        ),
        (
            tcp(from4, "192.0.2.30:80", false),
            &[
                "packet     tcp 198.51.100.7:40000 -> 192.0.2.30:80, ack, 54 bytes to 02:00:00:00:00:07, in by eth0",
                "service    shop (tcp 192.0.2.30:80, fullnat)",
                "list       no list",
                "slot       378 of 1021: settled, current shop1",
                "verdict    dropped: unknown-connection",
            ],
        ),
        (
            tcp(from4, "192.0.2.10:81", false),
            &[
                "packet     tcp 198.51.100.7:40000 -> 192.0.2.10:81, ack, 54 bytes to 02:00:00:00:00:07, in by eth0",
                "verdict    dropped: no-service",
            ],
        ),
        (
            asked(Transport::Icmp, "198.51.100.7", "192.0.2.10", false),
            &[
                "packet     icmp 198.51.100.7 -> 192.0.2.10, 42 bytes to 02:00:00:00:00:07, in by eth0",
                "rewrite    MAC 02:00:00:00:00:07 -> 02:00:00:00:00:00, 192.0.2.10 -> 198.51.100.7",
                "egress     eth0 (XDP_TX)",
                "verdict    answered: echo-reply",
            ],
        ),
        (
            asked(Transport::Udp, "10.0.1.31:5353", "198.51.100.7:40000", false),
            &[
                "packet     udp 10.0.1.31:5353 -> 198.51.100.7:40000, 42 bytes to 02:00:00:00:00:07, in by eth0",
                "service    dns (udp 192.0.2.10:53, nat)",
                "backend    dns/dns1 10.0.1.31, unchecked, ready, weight 1 (it is its reply)",
                "rewrite    MAC 02:00:00:00:00:00 -> 02:00:00:00:00:07, 192.0.2.10:53 -> 198.51.100.7:40000",
                "verdict    passed: reply-to-stack",
            ],
        ),
    ];
    for (question, expected) in rows {
        // Asking twice: nothing was remembered.
        let mut core = core();
        assert_eq!(told(&mut core, &question), expected);
        assert_eq!(told(&mut core, &question), expected);
    }
}

#[test]
fn what_is_remembered_is_told_and_what_is_used_up() {
    let mut core = core();
    let question = asked(Transport::Udp, "198.51.100.7:40000", "192.0.2.10:53", false);
    let frame = frame(&question.packet, [2, 0, 0, 0, 0, 7]).unwrap();
    let _ = core.dataplane.run(&frame);
    let flow = explain(&mut core, &question).unwrap().flow.unwrap();
    assert_eq!((flow.remembered.as_deref(), flow.dead, flow.enters), (Some("dns1"), false, false));

    let question = tcp("198.51.100.7:40000", "192.0.2.40:80", true);
    let frame = self::frame(&question.packet, [2, 0, 0, 0, 0, 7]).unwrap();
    assert_eq!(explain(&mut core, &question).unwrap().verdict.fate, types::Fate::Forwarded);
    let _ = core.dataplane.run(&frame);
    let verdict = explain(&mut core, &question).unwrap().verdict;
    assert_eq!((verdict.fate, verdict.reason.as_deref()), (types::Fate::Dropped, Some("rate-limited")));
}

#[test]
fn a_frame_is_read_from_hexadecimal() {
    let error =
        |hex: &str| explain(&mut core(), &Question { interface: None, packet: Asked::Frame(hex.to_owned()) });
    let rows = [
        ("0", "frame: is not made of pairs of hexadecimal digits"),
        ("+1", "frame: is not made of pairs of hexadecimal digits"),
        ("zz", "frame: is not made of pairs of hexadecimal digits"),
        ("", "frame: is shorter than an Ethernet header"),
        (&"00".repeat(16_385), "frame: has 16385 bytes: up to 16384 can be asked about"),
    ];
    for (hex, text) in rows {
        assert_eq!(error(hex), Err(api::Error::Invalid(text.to_owned())));
    }
    let arp = error("ffffffffffff02000000000908060001").unwrap();
    assert_eq!((arp.packet.protocol.as_str(), arp.verdict.reason.as_deref()), ("arp", Some("not-ip")));
}

#[test]
fn prefixes_cover_their_own_family() {
    let prefix = |address: &str, length_bits| Prefix { address: address.parse().unwrap(), length_bits };
    let covers = |prefix: Prefix, address: &str| covers(&prefix, address.parse().unwrap());
    assert!(
        covers(prefix("198.51.100.128", 25), "198.51.100.200")
            && !covers(prefix("198.51.100.128", 25), "198.51.100.7")
    );
    assert!(covers(prefix("0.0.0.0", 0), "1.2.3.4") && !covers(prefix("0.0.0.0", 0), "::1"));
    assert!(
        covers(prefix("2001:db8::", 32), "2001:db8::1") && !covers(prefix("2001:db8::", 32), "2001:db9::1")
    );
}
