//! Who may use a service, and how fast.

use super::{alone, service};

/// A TCP service at 192.0.2.10 with these lines, the first of which is line 10.
#[track_caller]
fn tcp(lines: &[&str], expected: &[&str]) {
    alone(&[&[service("s", "192.0.2.10", "tcp", "dsr").as_str()], lines].concat(), expected);
}

/// The same for UDP.
#[track_caller]
fn udp(lines: &[&str], expected: &[&str]) {
    alone(&[&[service("s", "192.0.2.10", "udp", "dsr").as_str()], lines].concat(), expected);
}

#[test]
fn prefixes() {
    tcp(&["allow = [\"0.0.0.0/0\", \"198.51.100.7\"]", "deny = [\"198.51.100.0/24\"]"], &[]);
    tcp(&["deny = []"], &[]);
    tcp(
        &["allow = []"],
        &[
            "10:9: service s: allow is empty, which would leave nobody: name at least one prefix, or remove it",
        ],
    );
    tcp(
        &["allow = [\"all\"]"],
        &[
            "10:10: service s: allow \"all\" is not a prefix: write one such as 172.16.0.0/16 or 2001:db8::/64",
        ],
    );
    tcp(
        &["deny = [\"198.51.100.7/24\"]"],
        &["10:9: service s: deny 198.51.100.7/24 has bits behind its /24: write 198.51.100.0/24"],
    );
    tcp(
        &["allow = [\"2001:db8::/32\"]"],
        &["10:10: service s: allow 2001:db8::/32 is not of the family of 192.0.2.10: give an IPv4 prefix"],
    );
    alone(
        &[&service("s", "2001:db8::10", "tcp", "dsr"), "deny = [\"10.0.0.0/8\"]"],
        &["10:9: service s: deny 10.0.0.0/8 is not of the family of 2001:db8::10: give an IPv6 prefix"],
    );
}

#[test]
fn a_prefix_is_named_once() {
    for key in ["allow", "deny"] {
        tcp(
            &[&format!("{key} = ["), "\"10.0.0.0/8\",", "\"10.0.0.0/8\",", "]"],
            &[&format!("12:1: service s: {key} 10.0.0.0/8 is already named (line 11): remove one")],
        );
    }
    tcp(
        &["deny = [\"198.51.100.7\"]", "allow = [\"198.51.100.7/32\"]"],
        &["10:9: service s: deny 198.51.100.7/32 is in allow too (line 11): remove one of the two"],
    );
    tcp(&["allow = [\"10.0.0.0/8\"]", "deny = [\"10.0.0.0/9\"]"], &[]);
}

#[test]
fn more_prefixes_than_a_node_can_have() {
    let list = |key, count: u32| {
        let prefix = |n: u32| format!("\"{}\"", std::net::Ipv4Addr::from_bits((10 << 24) + n));
        format!("{key} = [{}]", (0..count).map(prefix).collect::<Vec<_>>().join(", "))
    };
    tcp(&[&list("allow", 65_536)], &[]);
    let output = super::check(
        format!(
            "[node]\nname = \"n\"\ninterfaces = [\"eth0\"]\n{}\n{}\n{}\n{}\n",
            service("s", "192.0.2.10", "tcp", "dsr"),
            list("allow", 65_536),
            service("t", "192.0.2.11", "tcp", "dsr"),
            list("deny", 1)
        ),
        &[],
    );
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "xlb.toml: 65537 prefixes in allow and deny are more than the 65536 that one node can have\n"
    );
}

#[test]
fn rates() {
    for rate in ["1/m", "60000000/m", "1000000/s"] {
        tcp(&[&format!("rate_limit = \"{rate}\""), "rate_burst = 1000000"], &[]);
    }
    for rate in ["100", "100/h", "1.5/s"] {
        tcp(
            &[&format!("rate_limit = \"{rate}\"")],
            &[&format!(
                "10:14: service s: rate_limit \"{rate}\" is not a rate: write a whole number for each second or minute, \
                 such as 100/s or 30/m"
            )],
        );
    }
    for rate in ["0/s", "1000001/s", "60000001/m"] {
        tcp(
            &[&format!("rate_limit = \"{rate}\"")],
            &[&format!("10:14: service s: rate_limit {rate} is out of range: choose 1/m to 1000000/s")],
        );
    }
    tcp(
        &["rate_limit = \"1/s\"", "rate_burst = 0"],
        &["11:14: service s: rate_burst 0 is out of range: choose one from 1 to 1000000"],
    );
    tcp(
        &["rate_burst = 1"],
        &["10:14: service s: rate_burst has no meaning without rate_limit: remove it, or add rate_limit"],
    );
}

#[test]
fn a_rate_needs_to_know_new_flows() {
    let rate = "rate_limit = \"100/s\"";
    for tracking in ["adaptive", "full", "off"] {
        tcp(&[rate, &format!("tracking = \"{tracking}\"")], &[]);
    }
    udp(&[rate], &[]);
    let way_out = "set tracking to \"full\", or remove rate_limit";
    udp(
        &[rate, "tracking = \"adaptive\""],
        &[&format!(
            "10:14: service s: rate_limit counts new flows, and tracking adaptive takes an unknown udp flow for an old \
             one: {way_out}"
        )],
    );
    udp(
        &[rate, "tracking = \"off\""],
        &[&format!(
            "10:14: service s: rate_limit counts new flows, and tracking off remembers none: {way_out}"
        )],
    );
}
