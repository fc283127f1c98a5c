//! What a valid file becomes. Every way to be invalid is in `tests/check.rs`, through the real binary.

use std::net::IpAddr;
use std::time::Duration;

use super::{Loaded, NewBackend, Overrides, Problems, backend, load, parse};
use crate::model::{
    Backend, Check, CheckKind, Config, Mode, OnDown, Prefix, Protocol, RateLimit, Tracking, XdpMode,
};

fn read(text: &str) -> Result<Loaded, Problems> {
    parse("xlb.toml", text, &Overrides::default())
}

const FULL: &str = r#"
[node]
name = "lb1"
interfaces = ["eth0", "eth1"]
xdp_mode = "auto"
answer_neighbors = false
max_slots = 100_000
max_flows = 2048
max_nat_flows = 5000
max_fragments = 1024

[[service]]
name = "web"
address = "192.0.2.10"
port = 80
protocol = "tcp"
mode = "ipip"
slots = 65537
encap_source = "172.16.0.0/16"
[service.check]
kind = "http"
path = "/healthz"
host = "www.example.com"
interval = "2s"
timeout = "500ms"
rise = 4
fall = 5
port = 8080
[[service.backend]]
name = "web1"
address = "10.0.0.11"
weight = 10
[[service.backend]]
name = "web2"
address = "10.0.0.12"

[[service]]
name = "dns"
address = "2001:db8::53"
port = 53
protocol = "udp"
mode = "dsr"
tracking = "off"
idle_timeout = "1h"
on_down = "hold"
allow = ["::/0", "2001:db8:1::/48"]
deny = ["2001:db8:1:2::7"]

[[service]]
name = "quic"
address = "192.0.2.10"
port = 443
protocol = "udp"
mode = "gue"
gue_port = 6081
encap_source = "fd00::/64"
quic = true
rate_limit = "30/m"
rate_burst = 40
[[service.backend]]
name = "quic1"
address = "fd00:1::11"
server_id = 65535

[[service]]
name = "mail"
address = "192.0.2.10"
port = 25
protocol = "tcp"
mode = "fullnat"
source_addresses = ["10.0.0.100", "10.0.0.101"]
[[service.backend]]
name = "mail1"
address = "10.0.0.11"
port = 2525
[[service.backend]]
name = "mail2"
address = "10.0.0.11"

[[service]]
name = "sql"
address = "192.0.2.10"
port = 3306
protocol = "tcp"
mode = "nat"
tracking = "full"
rate_limit = "250/s"
[[service.backend]]
name = "sql1"
address = "10.0.0.11"
port = 3307
"#;

fn addresses(typed: &[&str]) -> Vec<IpAddr> {
    typed.iter().map(|address| address.parse().unwrap()).collect()
}

#[test]
fn every_key_arrives() {
    let config = read(FULL).unwrap().config;
    assert_eq!((config.node.name.as_str(), config.node.max_slots), ("lb1", 100_000));
    assert_eq!(config.node.interfaces, ["eth0", "eth1"]);
    assert_eq!(config.node.xdp_mode, XdpMode::Auto);
    let node = &config.node;
    assert_eq!(
        (node.answer_neighbors, node.max_flows, node.max_nat_flows, node.max_fragments),
        (false, 2048, 5000, 1024)
    );
    let [web, dns, ..] = &config.services[..] else { panic!("two services") };
    assert_eq!((web.name.as_str(), web.port, web.protocol, web.mode), ("web", 80, Protocol::Tcp, Mode::Ipip));
    assert_eq!((web.slots, web.encap_source.unwrap().to_string().as_str()), (Some(65537), "172.16.0.0/16"));
    let check = Check {
        kind: CheckKind::Http { path: "/healthz".to_owned(), host: Some("www.example.com".to_owned()) },
        interval: Duration::from_secs(2),
        timeout: Duration::from_millis(500),
        rise: 4,
        fall: 5,
        port: Some(8080),
    };
    assert_eq!(web.check, Some(check));
    let web1 = Backend {
        name: "web1".to_owned(),
        address: "10.0.0.11".parse().unwrap(),
        port: 80,
        server_id: None,
        weight: 10,
    };
    assert_eq!(web.backends[0], web1);
    assert_eq!(web.backends[1].weight, 1);
    assert_eq!(
        (dns.address.to_string().as_str(), dns.protocol, dns.mode),
        ("2001:db8::53", Protocol::Udp, Mode::Dsr)
    );
    assert!(
        dns.backends.is_empty() && dns.check.is_none() && dns.slots.is_none() && dns.encap_source.is_none()
    );
}

#[test]
fn what_the_modes_need_arrives() {
    let config = read(FULL).unwrap().config;
    let [_, dns, quic, mail, sql] = &config.services[..] else { panic!("five services") };
    assert_eq!((dns.tracking, dns.on_down), (Tracking::Off, OnDown::Hold));
    assert_eq!(dns.idle_timeout, Duration::from_secs(3600));
    let words = |list: &[Prefix]| list.iter().map(Prefix::to_string).collect::<Vec<_>>();
    assert_eq!(words(&dns.allow), ["::/0", "2001:db8:1::/48"]);
    assert_eq!(words(&dns.deny), ["2001:db8:1:2::7/128"]);

    assert_eq!((quic.mode, quic.gue_port, quic.quic), (Mode::Gue, 6081, true));
    assert_eq!(quic.rate_limit, Some(RateLimit { per_second_milli: 500, burst: 40 }));
    assert_eq!((quic.backends[0].server_id, quic.backends[0].port), (Some(65_535), 443));

    assert_eq!(mail.mode, Mode::Fullnat);
    assert_eq!(mail.source_addresses, addresses(&["10.0.0.100", "10.0.0.101"]));
    assert_eq!(mail.backends.iter().map(|backend| backend.port).collect::<Vec<_>>(), [2525, 25]);

    assert_eq!((sql.mode, sql.tracking, sql.backends[0].port), (Mode::Nat, Tracking::Full, 3307));
    assert_eq!(sql.rate_limit, Some(RateLimit { per_second_milli: 250_000, burst: 250 }));
}

#[test]
fn what_is_not_said_has_its_documented_default() {
    let node = read("[node]\nname = \"n\"\ninterfaces = [\"eth0\"]\n").unwrap().config.node;
    assert_eq!((node.xdp_mode, node.max_slots), (XdpMode::Native, 4_194_304));
    assert_eq!(
        (node.answer_neighbors, node.max_flows, node.max_nat_flows, node.max_fragments),
        (true, 1_048_576, 262_144, 8192)
    );
    let config = read(FULL).unwrap().config;
    let [web, dns, quic, ..] = &config.services[..] else { panic!("three services") };
    assert_eq!((web.tracking, quic.tracking), (Tracking::Adaptive, Tracking::Full));
    assert_eq!((web.idle_timeout, web.on_down), (Duration::from_secs(300), OnDown::Reset));
    assert!(web.allow.is_empty() && web.deny.is_empty() && web.source_addresses.is_empty());
    assert_eq!((web.rate_limit, web.quic, web.gue_port), (None, false, 6080));
    assert_eq!((web.backends[0].port, web.backends[0].server_id, dns.rate_limit), (80, None, None));
    let check = |keys: &str| {
        let head = "[node]\nname = \"n\"\ninterfaces = [\"eth0\"]\n[[service]]\nname = \"s\"\n\
                    address = \"192.0.2.1\"\nport = 80\nprotocol = \"tcp\"\nmode = \"dsr\"\n[service.check]\n";
        read(&format!("{head}{keys}")).unwrap().config.services[0].check.clone().unwrap()
    };
    let second = Duration::from_secs(1);
    let http = check("kind = \"http\"");
    assert_eq!(http.kind, CheckKind::Http { path: "/".to_owned(), host: None });
    assert_eq!((http.interval, http.timeout, http.rise, http.fall, http.port), (second, second, 2, 3, None));
    let often = check("kind = \"tcp\"\ninterval = \"200ms\"");
    assert_eq!(often.timeout, Duration::from_millis(200), "a timeout never outlasts the interval");
    assert_eq!(check("kind = \"tcp\"\ninterval = \"1m\"").timeout, second);
}

#[test]
fn places_lead_back_to_the_file() {
    let places = read(FULL).unwrap().places;
    assert_eq!(places.file, "xlb.toml");
    assert_eq!((places.interfaces["eth0"].line, places.interfaces["eth1"].column), (4, 23));
}

#[test]
fn interfaces_of_the_command_line_take_the_place_of_the_files() {
    let overrides = |names: &[&str]| Overrides { interfaces: names.iter().map(|&n| n.to_owned()).collect() };
    let loaded = parse("f", "[node]\nname = \"n\"\n", &overrides(&["eth7"])).unwrap();
    assert_eq!(loaded.config.node.interfaces, ["eth7"]);
    let twice = parse("f", "[node]\nname = \"n\"\n", &overrides(&["eth7", "eth7"])).unwrap_err();
    assert_eq!(twice.to_string(), "f: --interface: interface eth7 is given twice: remove one");
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    let problems = load("/nonexistent/xlb.toml".as_ref(), &Overrides::default()).unwrap_err();
    let expected = "/nonexistent/xlb.toml: cannot be read: No such file or directory (os error 2)";
    assert_eq!(problems.to_string(), expected);
}

#[test]
fn no_text_makes_the_reader_panic() {
    let bytes: Vec<char> = FULL.chars().collect();
    for cut in 0..bytes.len() {
        let head: String = bytes[..cut].iter().collect();
        let without: String = bytes[..cut].iter().chain(&bytes[cut + 1..]).collect();
        for text in [head, without] {
            if let Err(problems) = read(&text) {
                assert!(!problems.list.is_empty(), "refused without a reason: {text}");
            }
        }
    }
}

#[test]
fn a_new_backend_is_judged_by_the_rules_of_the_file() {
    let mut config = read(FULL).unwrap().config;
    config.services[0].slots = Some(251);
    let web = &config.services[0];
    let new = |name: &str, address: &str, weight| NewBackend {
        name: name.to_owned(),
        address: address.to_owned(),
        port: None,
        server_id: None,
        weight,
    };
    let added = backend(&config, web, &new("web3", "10.0.0.13", 7)).unwrap();
    assert_eq!(
        added,
        Backend {
            name: "web3".to_owned(),
            address: "10.0.0.13".parse().unwrap(),
            port: 80,
            server_id: None,
            weight: 7
        }
    );
    let cases = [
        (
            new("web1", "10.0.0.13", 1),
            "backend web1: a backend of this name is already there: choose another name, or delete that one first",
        ),
        (new("web3", "10.0.0.12", 1), "backend web3: address 10.0.0.12 is already used by web2"),
        (
            new("web3", "10.0.0", 1),
            "backend web3: address \"10.0.0\" is not an IP address: write one such as 192.0.2.10 or 2001:db8::10",
        ),
        (
            new("web3", "10.0.0.13", 1001),
            "backend web3: weight 1001 is out of range: choose one from 0 to 1000",
        ),
        (new("web3", "10.0.0.13", -1), "backend web3: weight -1 is out of range: choose one from 0 to 1000"),
        (
            new("a/b", "10.0.0.13", 1),
            "backend a/b: name \"a/b\" is not 1 to 64 of the characters A-Z a-z 0-9 . _ -",
        ),
        (
            new("web3", "2001:db8::1", 1),
            "backend web3: address 2001:db8::1 is an IPv6 address beside the IPv4 address 10.0.0.11 of web1, and all backends of a service need one family in mode ipip: give the backend's IPv4 address",
        ),
        (
            new("web3", "192.0.2.10", 1),
            "backend web3: address 192.0.2.10 is the address of service web: packets sent there would come back; give the server's own address",
        ),
    ];
    for (new, expected) in cases {
        assert_eq!(backend(&config, web, &new).unwrap_err(), format!("service web: {expected}"));
    }
    let mut full = config.clone();
    full.services[0].backends = (0..251)
        .map(|n| Backend {
            name: format!("b{n}"),
            address: [10, 1, 0, n].into(),
            port: 80,
            server_id: None,
            weight: 1,
        })
        .collect();
    let crowded = backend(&full, &full.services[0], &new("web3", "10.0.0.13", 1)).unwrap_err();
    assert!(
        crowded.ends_with("slots 251 is less than its 252 backends with a weight: the next prime is 257")
    );
    assert!(backend(&full, &full.services[0], &new("web3", "10.0.0.13", 0)).is_ok());
}

#[test]
fn a_new_backend_may_leave_out_what_has_a_default() {
    let new: NewBackend = serde_json::from_str(r#"{"name": "b", "address": "10.0.0.1"}"#).unwrap();
    assert_eq!((new.port, new.server_id, new.weight), (None, None, 1));
    // A daemon that does not know these keys is not asked for them.
    assert_eq!(serde_json::to_string(&new).unwrap(), r#"{"name":"b","address":"10.0.0.1","weight":1}"#);
    let new = NewBackend { port: Some(8080), server_id: Some(7), ..new };
    let text = serde_json::to_string(&new).unwrap();
    assert_eq!(serde_json::from_str::<NewBackend>(&text).unwrap(), new, "{text}");
}

#[test]
fn a_new_backend_is_judged_by_its_mode_and_by_the_other_services() {
    let config = read(FULL).unwrap().config;
    let new = |address: &str, port, server_id| NewBackend {
        name: "new".to_owned(),
        address: address.to_owned(),
        port,
        server_id,
        weight: 1,
    };
    let judged = |config: &Config, service: &str, new: &NewBackend| {
        let service = config.services.iter().find(|one| one.name == service).unwrap();
        backend(config, service, new)
    };
    let added = judged(&config, "mail", &new("10.0.0.11", Some(2526), None)).unwrap();
    assert_eq!((added.address, added.port, added.server_id), ([10, 0, 0, 11].into(), 2526, None));
    let added = judged(&config, "quic", &new("fd00:1::12", None, Some(0))).unwrap();
    assert_eq!((added.port, added.server_id), (443, Some(0)));
    assert_eq!(judged(&config, "sql", &new("10.0.0.12", None, None)).unwrap().port, 3306);

    let mut more = config.clone();
    let mut lone = more.services[2].clone();
    lone.name = "lone".to_owned();
    lone.backends.clear();
    let mut rival = more.services[4].clone();
    rival.name = "rival".to_owned();
    rival.backends.clear();
    more.services.extend([lone, rival]);
    for (service, new, expected) in [
        (
            "web",
            new("10.0.0.13", Some(80), None),
            "port has no meaning in mode ipip, which keeps the service's port: remove it",
        ),
        ("mail", new("10.0.0.13", Some(0), None), "port 0 is out of range: choose one from 1 to 65535"),
        ("mail", new("10.0.0.11", Some(2525), None), "address 10.0.0.11, port 2525 is already used by mail1"),
        ("mail", new("10.0.0.11", None, None), "address 10.0.0.11, port 25 is already used by mail2"),
        (
            "web",
            new("10.0.0.13", None, Some(1)),
            "server_id has no meaning without quic: remove it, or set quic of the service to true",
        ),
        (
            "quic",
            new("fd00:1::12", None, None),
            "server_id is missing: a quic service needs one from 0 to 65535 for every backend, the one that the server writes into its connection IDs",
        ),
        (
            "quic",
            new("fd00:1::12", None, Some(65_535)),
            "server_id 65535 is already used by quic1: choose another",
        ),
        (
            "quic",
            new("fd00:1::12", None, Some(-1)),
            "server_id -1 is out of range: choose one from 0 to 65535",
        ),
        (
            "lone",
            new("10.0.0.13", None, Some(1)),
            "address 10.0.0.13 is not of the family of encap_source fd00::/64: give the backend's IPv6 address",
        ),
        (
            "sql",
            new("fd00:1::12", None, None),
            "address fd00:1::12 is an IPv6 address behind the IPv4 address 192.0.2.10, which mode nat cannot carry: give the backend's IPv4 address",
        ),
        (
            "sql",
            new("10.0.0.100", None, None),
            "address 10.0.0.100 is one of the source_addresses of service mail: packets sent there would come back; give the server's own address",
        ),
        (
            "rival",
            new("10.0.0.11", Some(3307), None),
            "address 10.0.0.11, port 3307, tcp already answers in mode nat for service sql: backend sql1, and replies could not be told apart: use another port, or mode fullnat for one of the two services",
        ),
    ] {
        let text = format!("service {service}: backend new: {expected}");
        assert_eq!(judged(&more, service, &new), Err(text));
    }
    assert!(judged(&more, "rival", &new("10.0.0.11", Some(3308), None)).is_ok());
    more.services[6].protocol = Protocol::Udp;
    assert!(judged(&more, "rival", &new("10.0.0.11", Some(3307), None)).is_ok());
}
