//! What depends on the mode, the protocol and the tracking of a service.

use super::{alone, backend, service};

#[test]
fn every_mode_has_a_sound_service() {
    let vip = "192.0.2.10";
    alone(&[&service("s", vip, "tcp", "dsr"), &backend("b", "10.0.0.11")], &[]);
    let outer = ["encap_source = \"fd00::/64\"", &backend("b", "fd00:1::11"), &backend("c", "fd00:1::12")];
    alone(&[&[service("s", vip, "tcp", "ipip").as_str()], &outer[..]].concat(), &[]);
    alone(&[&[service("s", vip, "udp", "gue").as_str(), "gue_port = 6081"], &outer[..]].concat(), &[]);
    let twice = [&backend("b", "10.0.0.11"), "port = 8080", &backend("c", "10.0.0.11"), "port = 8081"];
    alone(&[&[service("s", vip, "tcp", "nat").as_str()], &twice[..]].concat(), &[]);
    let sources = "source_addresses = [\"10.0.0.100\", \"10.0.0.101\"]";
    alone(&[&[service("s", vip, "tcp", "fullnat").as_str(), sources], &twice[..]].concat(), &[]);
}

#[test]
fn keys_of_another_mode() {
    for (mode, key, column, why) in [
        (
            "dsr",
            "encap_source = \"172.16.0.0/16\"",
            16,
            "encap_source has no meaning in mode dsr, which adds no header",
        ),
        (
            "nat",
            "encap_source = \"172.16.0.0/16\"",
            16,
            "encap_source has no meaning in mode nat, which adds no header",
        ),
        ("dsr", "gue_port = 6080", 12, "gue_port has no meaning in mode dsr, which adds no UDP header"),
        ("ipip", "gue_port = 6080", 12, "gue_port has no meaning in mode ipip, which adds no UDP header"),
        (
            "nat",
            "source_addresses = [\"10.0.0.100\"]",
            20,
            "source_addresses has no meaning in mode nat, which keeps the client's address",
        ),
    ] {
        alone(
            &[&service("s", "192.0.2.10", "tcp", mode), key],
            &[&format!("10:{column}: service s: {why}: remove it")],
        );
    }
    for mode in ["dsr", "ipip", "gue"] {
        alone(
            &[&service("s", "192.0.2.10", "tcp", mode), &backend("b", "10.0.0.11"), "port = 80"],
            &[&format!(
                "13:8: service s: backend b: port has no meaning in mode {mode}, which keeps the service's port: remove it"
            )],
        );
    }
}

#[test]
fn numbers_of_modes() {
    alone(
        &[&service("s", "192.0.2.10", "tcp", "gue"), "gue_port = 0"],
        &["10:12: service s: gue_port 0 is out of range: choose one from 1 to 65535"],
    );
    alone(
        &[&service("s", "192.0.2.10", "tcp", "nat"), &backend("b", "10.0.0.11"), "port = 65536"],
        &["13:8: service s: backend b: port 65536 is out of range: choose one from 1 to 65535"],
    );
}

#[test]
fn families_of_backends() {
    for mode in ["dsr", "nat"] {
        alone(
            &[&service("s", "2001:db8::10", "tcp", mode), &backend("b", "10.0.0.11")],
            &[&format!(
                "12:11: service s: backend b: address 10.0.0.11 is an IPv4 address behind the IPv6 address 2001:db8::10, \
                 which mode {mode} cannot carry: give the backend's IPv6 address"
            )],
        );
    }
    alone(
        &[
            &service("s", "192.0.2.10", "tcp", "fullnat"),
            "source_addresses = [\"10.0.0.100\"]",
            &backend("b", "fd00::11"),
        ],
        &[
            "13:11: service s: backend b: address fd00::11 is an IPv6 address behind the IPv4 address 192.0.2.10, which \
             mode fullnat cannot carry: give the backend's IPv4 address",
        ],
    );
    for mode in ["ipip", "gue"] {
        alone(
            &[
                &service("s", "192.0.2.10", "tcp", mode),
                &backend("b", "fd00::11"),
                &backend("c", "fd00::12"),
                &backend("d", "10.0.0.13"),
            ],
            &[&format!(
                "18:11: service s: backend d: address 10.0.0.13 is an IPv4 address beside the IPv6 address fd00::11 of b \
                 (line 12), and all backends of a service need one family in mode {mode}: give the backend's IPv6 address"
            )],
        );
    }
}

#[test]
fn encap_source() {
    let six = service("six", "2001:db8::10", "tcp", "ipip");
    alone(
        &[&six, "encap_source = \"172.16.0.0/16\"", &backend("b", "fd00::11")],
        &[
            "10:16: service six: encap_source 172.16.0.0/16 is not of the family of fd00::11, the address of b (line 13): \
             give an IPv6 prefix",
        ],
    );
    alone(
        &[
            &service("s", "192.0.2.10", "tcp", "gue"),
            "encap_source = \"fd00::/64\"",
            &backend("b", "10.0.0.11"),
        ],
        &[
            "10:16: service s: encap_source fd00::/64 is not of the family of 10.0.0.11, the address of b (line 13): give \
             an IPv4 prefix",
        ],
    );
    alone(
        &[&six, "encap_source = \"2001:db8::1/64\""],
        &["10:16: service six: encap_source 2001:db8::1/64 has bits behind its /64: write 2001:db8::/64"],
    );
    alone(
        &[&six, "encap_source = \"here\""],
        &[
            "10:16: service six: encap_source \"here\" is not a prefix: write one such as 172.16.0.0/16 or 2001:db8::/64",
        ],
    );
    alone(
        &[&six, "encap_source = \"::/0\""],
        &[
            "10:16: service six: encap_source: address :: is the unspecified address: write a unicast address that the \
             network can route",
        ],
    );
}

#[test]
fn one_server_for_two_services_in_mode_nat() {
    let a = [&service("a", "192.0.2.10", "tcp", "nat"), &backend("a1", "10.0.0.11"), "port = 8080"];
    let b = |protocol, mode| service("b", "192.0.2.11", protocol, mode);
    let (b1, port) = (backend("b1", "10.0.0.11"), "port = 8080");
    let with = |rest: &[&str], expected: &[&str]| alone(&[&a[..], rest].concat(), expected);
    with(
        &[&b("tcp", "nat"), &b1, port],
        &[
            "22:11: service b: backend b1: address 10.0.0.11, port 8080, tcp already answers in mode nat for service a: \
             backend a1 (line 12), and replies could not be told apart: use another port, or mode fullnat for one of the \
             two services",
        ],
    );
    with(&[&b("tcp", "nat"), &b1, "port = 8081"], &[]);
    with(&[&b("udp", "nat"), &b1, port], &[]);
    with(&[&b("tcp", "fullnat"), "source_addresses = [\"10.0.0.100\"]", &b1, port], &[]);
    with(&[&b("tcp", "dsr"), &b1], &[]);
}

#[test]
fn what_tells_backends_apart() {
    for mode in ["dsr", "ipip", "gue"] {
        alone(
            &[
                &service("s", "192.0.2.10", "tcp", mode),
                &backend("b", "10.0.0.11"),
                &backend("c", "10.0.0.11"),
            ],
            &["15:11: service s: backend c: address 10.0.0.11 is already used by b (line 12)"],
        );
    }
    alone(
        &[
            &service("s", "192.0.2.10", "tcp", "nat"),
            &backend("b", "10.0.0.11"),
            &backend("c", "10.0.0.11"),
            "port = 80",
        ],
        &["15:11: service s: backend c: address 10.0.0.11, port 80 is already used by b (line 12)"],
    );
}

#[test]
fn source_addresses() {
    let full = service("s", "192.0.2.10", "tcp", "fullnat");
    let sources = |list: &str, expected: &[&str]| {
        let key = format!("source_addresses = [{list}]");
        alone(&[&full, &key, &backend("b", "10.0.0.11")], expected);
    };
    let way_out = "name at least one address of this node, such as source_addresses = [\"10.0.0.100\"]";
    alone(&[&full], &[&format!("4:1: service s: source_addresses is missing: {way_out}")]);
    sources("", &[&format!("10:20: service s: source_addresses is empty: {way_out}")]);
    sources(
        "\"node\", \"10.0.0.100\", \"10.0.0.100\"",
        &[
            "10:21: service s: source_addresses: address \"node\" is not an IP address: write one such as 192.0.2.10 or \
             2001:db8::10",
            "10:43: service s: source_addresses: address 10.0.0.100 is already named (line 10): remove one",
        ],
    );
    sources(
        "\"fd00::1\"",
        &[
            "10:21: service s: source_addresses: address fd00::1 is not of the family of 192.0.2.10: give an IPv4 address",
        ],
    );
    let way_out = "replies sent there would be taken for something else; give an address of this node that nothing else \
                   uses";
    sources(
        "\"192.0.2.10\"",
        &[&format!(
            "10:21: service s: source_addresses: address 192.0.2.10 is the address of service s (line 6): {way_out}"
        )],
    );
    sources(
        "\"10.0.0.11\"",
        &[&format!(
            "10:21: service s: source_addresses: address 10.0.0.11 is the address of backend b of service s (line 13): \
             {way_out}"
        )],
    );
    let many = |count: u8| (0..count).map(|n| format!("\"10.0.1.{n}\"")).collect::<Vec<_>>().join(", ");
    sources(&many(64), &[]);
    sources(
        &many(65),
        &["10:20: service s: source_addresses: 65 addresses are more than the 64 that one service can have"],
    );
}

#[test]
fn tracking_and_what_ends_a_flow() {
    let tcp = service("s", "192.0.2.10", "tcp", "dsr");
    alone(
        &[&tcp, "tracking = \"adaptiv\""],
        &["10:12: service s: tracking \"adaptiv\" is unknown: did you mean adaptive?"],
    );
    alone(
        &[&tcp, "tracking = \"none\""],
        &["10:12: service s: tracking \"none\" is unknown: choose adaptive or full or off"],
    );
    alone(
        &[&tcp, "on_down = \"drop\""],
        &["10:11: service s: on_down \"drop\" is unknown: choose reset or hold"],
    );
    alone(
        &[&tcp, "idle_timeout = \"9h\""],
        &["10:16: service s: idle_timeout 9h is out of range: choose 1s to 8h"],
    );
    alone(
        &[&tcp, "idle_timeout = \"1500ms\""],
        &["10:16: service s: idle_timeout 1500ms is no whole number of seconds: write 2s"],
    );
    alone(
        &[&tcp, "idle_timeout = \"5 m\""],
        &[
            "10:16: service s: idle_timeout \"5 m\" is not a duration: write a whole number and a unit, such as 500ms, 1s \
             or 2m",
        ],
    );
}

#[test]
fn quic() {
    let udp = service("s", "192.0.2.10", "udp", "dsr");
    let b = backend("b", "10.0.0.11");
    alone(&[&udp, "quic = true", &b, "server_id = 0"], &[]);
    alone(
        &[&service("s", "192.0.2.10", "tcp", "dsr"), "quic = true"],
        &["10:8: service s: quic has no meaning with protocol tcp: remove it, or change protocol to \"udp\""],
    );
    for tracking in ["off", "adaptive"] {
        alone(
            &[&udp, "quic = true", &format!("tracking = \"{tracking}\"")],
            &[&format!(
                "10:8: service s: quic needs tracking full, not {tracking}, because the first packets of a connection \
                 name no server: set tracking to \"full\", or remove quic"
            )],
        );
    }
    alone(
        &[&udp, "quic = true", &b],
        &[
            "11:1: service s: backend b: server_id is missing: a quic service needs one from 0 to 65535 for every \
             backend, the one that the server writes into its connection IDs",
        ],
    );
    alone(
        &[&udp, &b, "server_id = 7"],
        &[
            "13:13: service s: backend b: server_id has no meaning without quic: remove it, or set quic of the service to \
             true",
        ],
    );
    alone(
        &[&udp, "quic = true", &b, "server_id = 65536"],
        &["14:13: service s: backend b: server_id 65536 is out of range: choose one from 0 to 65535"],
    );
    alone(
        &[&udp, "quic = true", &b, "server_id = 7", &backend("c", "10.0.0.12"), "server_id = 7"],
        &["18:13: service s: backend c: server_id 7 is already used by b (line 14): choose another"],
    );
}
