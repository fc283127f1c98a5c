//! `xlb check`: every way in which a file can be wrong, through the real binary, with the exact words.
//!
//! A case is a sound file with one line changed, removed or added; its own messages carry the place. What depends on the
//! mode, and who may use a service, is in files of its own, where a case is a few lines of `[[service]]`.

mod access;
mod modes;

use std::fs;
use std::process::{Command, Output};

const SOUND: &str = r#"[node]
name = "lb1"
interfaces = ["eth0"]

[[service]]
name = "web"
address = "192.0.2.10"
port = 80
protocol = "tcp"
mode = "dsr"
[service.check]
kind = "http"
interval = "1s"
[[service.backend]]
name = "web1"
address = "10.0.0.11"
[[service.backend]]
name = "web2"
address = "10.0.0.12"
weight = 1

[[service]]
name = "six"
address = "2001:db8::10"
port = 80
protocol = "tcp"
mode = "ipip"
"#;

/// Runs `xlb check` on `text` in a directory of its own, so that messages begin with `xlb.toml`.
fn check(text: impl AsRef<[u8]>, more: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("xlb.toml"), text).unwrap();
    let mut xlb = Command::new(env!("CARGO_BIN_EXE_xlb"));
    xlb.current_dir(dir.path())
        .env_remove("RUST_BACKTRACE")
        .args(["check", "xlb.toml"])
        .args(more)
        .output()
        .unwrap()
}

/// Lines of the sound file from `first` to `last` replaced by `lines`, and what is said then.
#[track_caller]
fn refused(first: usize, last: usize, lines: &[&str], expected: &[&str]) {
    let mut text: Vec<&str> = SOUND.lines().collect();
    text.splice(first - 1..last, lines.iter().copied());
    let output = check(text.join("\n"), &[]);
    let said: Vec<String> = String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect();
    let expected: Vec<String> = expected.iter().map(|line| format!("xlb.toml:{line}")).collect();
    assert_eq!(said, expected);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0));
}

/// What is said of a node with these parts, which begin at line 4.
#[track_caller]
fn alone(parts: &[&str], expected: &[&str]) {
    let text = format!("[node]\nname = \"lb1\"\ninterfaces = [\"eth0\"]\n{}\n", parts.join("\n"));
    let output = check(text, &[]);
    let said: Vec<String> = String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect();
    let expected: Vec<String> = expected.iter().map(|line| format!("xlb.toml:{line}")).collect();
    assert_eq!(said, expected);
    assert_eq!(output.status.code(), Some(if expected.is_empty() { 0 } else { 3 }));
}

/// Six lines: `[[service]]`, name, address, port 80, protocol and mode.
fn service(name: &str, address: &str, protocol: &str, mode: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\naddress = \"{address}\"\nport = 80\nprotocol = \"{protocol}\"\nmode = \"{mode}\""
    )
}

/// Three lines: `[[service.backend]]`, name and address.
fn backend(name: &str, address: &str) -> String {
    format!("[[service.backend]]\nname = \"{name}\"\naddress = \"{address}\"")
}

/// One line of the sound file replaced.
#[track_caller]
fn line(number: usize, line: &str, expected: &str) {
    refused(number, number, &[line], &[expected]);
}

/// A line added behind another.
#[track_caller]
fn added(behind: usize, line: &str, expected: &str) {
    refused(behind + 1, behind, &[line], &[expected]);
}

#[test]
fn a_sound_file_is_ok() {
    let output = check(SOUND, &[]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "xlb.toml: ok: 2 services, 2 backends\n");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let one = "[node]\nname = \"n\"\ninterfaces = [\"lo\"]\n";
    let output = check(one, &["--host"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "xlb.toml: ok: 0 services, 0 backends\n");
}

#[test]
fn an_interface_that_does_not_exist() {
    let text = SOUND.replace("eth0", "lo0");
    assert_eq!(check(&text, &[]).status.code(), Some(0), "another machine may have it");
    let output = check(&text, &["--host"]);
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "xlb.toml:3:15: node: interface lo0 does not exist on this host: did you mean lo?\n";
    assert_eq!((said.as_str(), output.status.code()), (expected, Some(3)));
}

#[test]
fn broken_toml_every_place_of_it() {
    line(8, "port = ", "8:8: not valid TOML: string values must be quoted, expected literal string");
    line(8, "name = \"again\"", "8:1: not valid TOML: duplicate key, at \"name\"");
    line(22, "[[service]", "22:11: not valid TOML: unclosed array table, expected `]`");
    refused(
        6,
        8,
        &["name = web", "address = \"192.0.2.10\"", "port 80"],
        &[
            "6:8: not valid TOML: string values must be quoted, expected literal string, at \"web\"",
            "8:6: not valid TOML: key with no value, expected `=`",
        ],
    );
}

#[test]
fn not_text() {
    let output = check(b"[node]\nname = \"\xff\"\n", &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "xlb.toml:2:9: is not UTF-8: save the file as UTF-8 text\n");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_file_that_is_not_there() {
    let xlb = Command::new(env!("CARGO_BIN_EXE_xlb")).args(["check", "/nonexistent.toml"]).output().unwrap();
    let said = String::from_utf8(xlb.stderr).unwrap();
    assert_eq!(said, "/nonexistent.toml: cannot be read: No such file or directory (os error 2)\n");
    assert_eq!(xlb.status.code(), Some(3));
}

#[test]
fn an_empty_file() {
    let output = check("", &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "xlb.toml: node: is missing: add a table [node] with name and interfaces\n");
}

#[test]
fn unknown_keys() {
    added(1, "nane = \"x\"", "2:1: node: unknown key nane: did you mean name?");
    added(5, "prot = 80", "6:1: service web: unknown key prot: did you mean port?");
    added(11, "patth = \"/\"", "12:1: service web: check: unknown key patth: did you mean path?");
    added(14, "wieght = 2", "15:1: service web: backend web1: unknown key wieght: did you mean weight?");
    added(
        14,
        "colour = 2",
        "15:1: service web: backend web1: unknown key colour: known keys are name, address, port, server_id, weight",
    );
    line(22, "[[servce]]", "22:3: unknown key servce: did you mean service?");
    refused(
        5,
        5,
        &["[[servce]]"],
        &[
            "5:3: unknown key servce: did you mean service?",
            "11:2: service must be tables, each headed [[service]], not a table",
            "22:3: not valid TOML: duplicate key, at \"service\"",
        ],
    );
}

#[test]
fn values_of_another_type() {
    line(
        8,
        "port = \"80\"",
        "8:8: service web: port must be a whole number such as 80, not the string \"80\"",
    );
    line(8, "port = 80.5", "8:8: service web: port must be a whole number such as 80, not the number 80.5");
    line(
        7,
        "address = 10",
        "7:11: service web: address must be a string such as \"192.0.2.10\", not the number 10",
    );
    line(
        3,
        "interfaces = \"eth0\"",
        "3:14: node: interfaces must be a list of strings such as [\"eth0\"], not the string \"eth0\"",
    );
    line(
        3,
        "interfaces = [1]",
        "3:14: node: interfaces must be a list of strings such as [\"eth0\"], not a list",
    );
    line(
        13,
        "interval = true",
        "13:12: service web: check: interval must be a string such as \"1s\", not the boolean true",
    );
    added(3, "answer_neighbors = 1", "4:20: node: answer_neighbors must be true or false, not the number 1");
    added(10, "quic = \"yes\"", "11:8: service web: quic must be true or false, not the string \"yes\"");
    added(
        10,
        "allow = \"10.0.0.0/8\"",
        "11:9: service web: allow must be a list of strings such as [\"198.51.100.0/24\"], not the string \"10.0.0.0/8\"",
    );
    line(
        13,
        "rise = 1979-05-27",
        "13:8: service web: check: rise must be a whole number such as 2, not a date",
    );
    line(
        8,
        "port = 99999999999999999999",
        "8:8: service web: port must be a whole number such as 80, not the number 99999999999999999999",
    );
    refused(5, 27, &["[service]"], &["5:1: service must be tables, each headed [[service]], not a table"]);
    refused(
        11,
        13,
        &["[[service.check]]"],
        &["11:1: service web: check must be a table headed [service.check], not a list of tables"],
    );
}

#[test]
fn missing_keys() {
    refused(2, 2, &[], &["1:1: node: name is missing: add it"]);
    refused(
        6,
        10,
        &[],
        &[
            "5:1: service 1: address is missing: add it",
            "5:1: service 1: mode is missing: add it",
            "5:1: service 1: name is missing: add it",
            "5:1: service 1: port is missing: add it",
            "5:1: service 1: protocol is missing: add it",
        ],
    );
    refused(12, 12, &[], &["11:1: service web: check: kind is missing: add it"]);
    refused(
        15,
        16,
        &[],
        &[
            "14:1: service web: backend 1: address is missing: add it",
            "14:1: service web: backend 1: name is missing: add it",
        ],
    );
}

#[test]
fn names() {
    let rule = "is not 1 to 64 of the characters A-Z a-z 0-9 . _ -";
    line(2, "name = \"\"", &format!("2:8: node: name \"\" {rule}"));
    line(6, "name = \"a b\"", &format!("6:8: service a b: name \"a b\" {rule}"));
    line(15, "name = \"a/b\"", &format!("15:8: service web: backend a/b: name \"a/b\" {rule}"));
    line(23, "name = \"web\"", "23:8: service web: name is already used (line 6): choose another");
    line(
        18,
        "name = \"web1\"",
        "18:8: service web: backend web1: name is already used (line 15): choose another",
    );
}

#[test]
fn interfaces() {
    refused(
        3,
        3,
        &[],
        &["1:1: node: interfaces is missing: name at least one, such as interfaces = [\"eth0\"]"],
    );
    line(
        3,
        "interfaces = []",
        "3:14: node: interfaces is empty: name at least one, such as interfaces = [\"eth0\"]",
    );
    line(
        3,
        "interfaces = [\"eth0\", \"eth0\"]",
        "3:23: node: interface eth0 is already named (line 3): remove one",
    );
    line(
        3,
        "interfaces = [\"a-name-of-16-byt\"]",
        "3:15: node: interface name \"a-name-of-16-byt\" is longer than 15 bytes: no interface can be called so, see 'ip link'",
    );
}

#[test]
fn the_node() {
    added(3, "xdp_mode = \"nativ\"", "4:12: node: xdp_mode \"nativ\" is unknown: did you mean native?");
    added(3, "xdp_mode = \"hw\"", "4:12: node: xdp_mode \"hw\" is unknown: choose native or generic or auto");
    added(3, "max_slots = 0", "4:13: node: max_slots 0 is out of range: choose 251 to 67108864");
    added(
        3,
        "max_flows = 1023",
        "4:13: node: max_flows 1023 is out of range: choose a power of two from 1024 to 16777216",
    );
    added(
        3,
        "max_flows = 1_000_000",
        "4:13: node: max_flows 1000000 is not a power of two: the next one is 1048576",
    );
    added(
        3,
        "max_nat_flows = 1023",
        "4:17: node: max_nat_flows 1023 is out of range: choose one from 1024 to 4194304",
    );
    added(
        3,
        "max_fragments = 2097152",
        "4:17: node: max_fragments 2097152 is out of range: choose a power of two from 512 to 1048576",
    );
    added(
        3,
        "max_fragments = 8000",
        "4:17: node: max_fragments 8000 is not a power of two: the next one is 8192",
    );
}

#[test]
fn addresses_of_services() {
    let way_out = "write a unicast address that the network can route";
    line(
        7,
        "address = \"192.0.2\"",
        "7:11: service web: address \"192.0.2\" is not an IP address: write one such as 192.0.2.10 or 2001:db8::10",
    );
    for (address, kind) in [
        ("0.0.0.0", "the unspecified address"),
        ("224.0.0.18", "a multicast address"),
        ("127.0.0.1", "a loopback address"),
        ("255.255.255.255", "the broadcast address"),
    ] {
        let expected = format!("7:11: service web: address {address} is {kind}: {way_out}");
        line(7, &format!("address = \"{address}\""), &expected);
    }
    line(
        24,
        "address = \"::\"",
        &format!("24:11: service six: address :: is the unspecified address: {way_out}"),
    );
    line(
        24,
        "address = \"ff02::1\"",
        &format!("24:11: service six: address ff02::1 is a multicast address: {way_out}"),
    );
    line(
        24,
        "address = \"::1\"",
        &format!("24:11: service six: address ::1 is a loopback address: {way_out}"),
    );
    line(
        24,
        "address = \"::ffff:192.0.2.9\"",
        "24:11: service six: address ::ffff:192.0.2.9 is an IPv4 address inside an IPv6 one: write 192.0.2.9",
    );
}

#[test]
fn ports_protocols_and_modes() {
    line(8, "port = 0", "8:8: service web: port 0 is out of range: choose one from 1 to 65535");
    line(8, "port = 70000", "8:8: service web: port 70000 is out of range: choose one from 1 to 65535");
    line(8, "port = -1", "8:8: service web: port -1 is out of range: choose one from 1 to 65535");
    line(9, "protocol = \"tpc\"", "9:12: service web: protocol \"tpc\" is unknown: did you mean tcp?");
    line(9, "protocol = \"sctp\"", "9:12: service web: protocol \"sctp\" is unknown: choose tcp or udp");
    line(
        10,
        "mode = \"tunnel\"",
        "10:8: service web: mode \"tunnel\" is unknown: choose dsr or ipip or gue or nat or fullnat",
    );
}

#[test]
fn two_services_at_one_address_port_and_protocol() {
    line(
        24,
        "address = \"192.0.2.10\"",
        "24:11: service six: address 192.0.2.10, port 80, tcp is already used by service web (line 7): change one of the three",
    );
    let mut sound: Vec<&str> = SOUND.lines().collect();
    sound[23] = "address = \"192.0.2.10\"";
    sound[24] = "port = 443";
    assert_eq!(check(sound.join("\n"), &[]).status.code(), Some(0), "another port is another service");
    sound[24] = "port = 80";
    sound[25] = "protocol = \"udp\"";
    assert_eq!(check(sound.join("\n"), &[]).status.code(), Some(0), "another protocol is another service");
}

#[test]
fn addresses_of_backends() {
    line(
        19,
        "address = \"10.0.0.11\"",
        "19:11: service web: backend web2: address 10.0.0.11 is already used by web1 (line 16)",
    );
    line(
        19,
        "address = \"web2\"",
        "19:11: service web: backend web2: address \"web2\" is not an IP address: write one such as 192.0.2.10 or 2001:db8::10",
    );
    line(
        19,
        "address = \"192.0.2.10\"",
        "19:11: service web: backend web2: address 192.0.2.10 is the address of service web (line 7): packets sent there would come back; give the server's own address",
    );
    line(
        19,
        "address = \"2001:db8::12\"",
        "19:11: service web: backend web2: address 2001:db8::12 is an IPv6 address behind the IPv4 address 192.0.2.10, which mode dsr cannot carry: give the backend's IPv4 address",
    );
}

#[test]
fn weights() {
    line(
        20,
        "weight = 1001",
        "20:10: service web: backend web2: weight 1001 is out of range: choose one from 0 to 1000",
    );
    line(
        20,
        "weight = -1",
        "20:10: service web: backend web2: weight -1 is out of range: choose one from 0 to 1000",
    );
    refused(
        17,
        20,
        &["weight = 0"],
        &["5:1: service web: every backend has weight 0: give at least one of them a weight of 1 or more"],
    );
}

#[test]
fn slots() {
    added(10, "slots = 65536", "11:9: service web: slots 65536 is not a prime: the next one is 65537");
    added(
        10,
        "slots = 241",
        "11:9: service web: slots 241 is out of range: choose a prime from 251 to 1048573",
    );
    added(
        10,
        "slots = 1048583",
        "11:9: service web: slots 1048583 is out of range: choose a prime from 251 to 1048573",
    );
    let many: Vec<String> = (0..252)
        .map(|n| format!("[[service.backend]]\nname = \"b{n}\"\naddress = \"2001:db8::1:{n}\""))
        .collect();
    added(
        27,
        &format!("slots = 251\n{}", many.join("\n")),
        "28:9: service six: slots 251 is less than its 252 backends with a weight: the next prime is 257",
    );
    refused(
        3,
        10,
        &[
            "interfaces = [\"eth0\"]",
            "max_slots = 1000",
            "[[service]]",
            "name = \"web\"",
            "address = \"192.0.2.10\"",
            "port = 80",
            "protocol = \"tcp\"",
            "mode = \"dsr\"",
            "slots = 1009",
        ],
        &[
            "4:13: node: the services need 2048 slots together, more than max_slots 1000: raise it, or give services smaller slots",
        ],
    );
}

#[test]
fn checks() {
    line(12, "kind = \"htpp\"", "12:8: service web: check: kind \"htpp\" is unknown: did you mean http?");
    line(
        13,
        "interval = \"1 s\"",
        "13:12: service web: check: interval \"1 s\" is not a duration: write a whole number and a unit, such as 500ms, 1s or 2m",
    );
    line(
        13,
        "interval = \"0s\"",
        "13:12: service web: check: interval 0s is out of range: choose 10ms to 60m",
    );
    added(
        13,
        "timeout = \"1001ms\"",
        "14:11: service web: check: timeout 1001ms is longer than the interval of 1s: shorten it, or lengthen interval",
    );
    added(13, "rise = 0", "14:8: service web: check: rise 0 is out of range: choose one from 1 to 1000");
    added(13, "fall = 0", "14:8: service web: check: fall 0 is out of range: choose one from 1 to 1000");
    added(13, "port = 0", "14:8: service web: check: port 0 is out of range: choose one from 1 to 65535");
    added(
        13,
        "path = \"healthz\"",
        "14:8: service web: check: path \"healthz\" is not a path: write one such as /healthz, without spaces, other characters as %XX",
    );
    added(
        13,
        "host = \"a b\"",
        "14:8: service web: check: host \"a b\" is not a host name: write one such as www.example.com",
    );
    refused(
        12,
        13,
        &["kind = \"tcp\"", "path = \"/\"", "host = \"h\""],
        &[
            "13:8: service web: check: path is only for kind \"http\": remove it, or change kind",
            "14:8: service web: check: host is only for kind \"http\": remove it, or change kind",
        ],
    );
}

#[test]
fn every_problem_of_a_file_is_said_at_once() {
    let mut text: Vec<&str> = SOUND.lines().collect();
    text[2] = "interfaces = []";
    text[7] = "port = 0";
    text[8] = "protocol = 6";
    text[18] = "adress = \"10.0.0.12\"";
    let output = check(text.join("\n"), &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "\
xlb.toml:3:14: node: interfaces is empty: name at least one, such as interfaces = [\"eth0\"]
xlb.toml:8:8: service web: port 0 is out of range: choose one from 1 to 65535
xlb.toml:9:12: service web: protocol must be a string such as \"tcp\", not the number 6
xlb.toml:17:1: service web: backend web2: address is missing: add it
xlb.toml:19:1: service web: backend web2: unknown key adress: did you mean address?
";
    assert_eq!(said, expected);
}
