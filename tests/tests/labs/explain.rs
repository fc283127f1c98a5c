//! Does `xlb explain` say what really becomes of a packet, and leave everything as it is?

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_userspace::api::types::{Action, Confirmed, Explanation, Fate, NamedBy, Status, Way};
use lb_userspace::packet::Header;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use xlb_tests::lab::{Balancer, Config, Lab, Mode, VIP4, wait, xlb_binary};

use crate::Test;

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const TESTS: &[Test] = &[
    ("explain_settled_flows", || settled_flows(Mode::Dsr, false)),
    ("explain_settled_flows_ipip_v6", || settled_flows(Mode::Ipip, true)),
    ("explain_after_a_drain", after_a_drain),
    ("explain_every_fate", every_fate),
    ("explain_changes_nothing", changes_nothing),
    ("explain_a_capture", a_capture),
    ("explain_what_cannot_be", what_cannot_be),
];

/// Ports of the client that are asked about, and then used.
const PORTS: std::ops::Range<u16> = 42_000..42_012;

fn start(config: &Config) -> Result<Lab> {
    let mut lab = Lab::start(3, config.mode)?;
    lab.balance(&xlb_binary(), config)?;
    Ok(lab)
}

/// The client's address in the family of a service.
fn client(config: &Config, port: u16) -> SocketAddr {
    let address = if config.ipv6 { "fd77::1" } else { "10.77.0.1" };
    SocketAddr::new(address.parse::<IpAddr>().expect("an address"), port)
}

fn ask(balancer: &Balancer, words: &[&str]) -> Result<Explanation> {
    let text = balancer.xlb(&[&["explain", "-o", "json"], words].concat())?;
    serde_json::from_str(&text).with_context(|| format!("explain printed {text}"))
}

fn ask_about(balancer: &Balancer, config: &Config, port: u16, syn: &[&str]) -> Result<Explanation> {
    let (from, to) = (client(config, port).to_string(), config.service().to_string());
    let answer = ask(balancer, &[&["--from", &from, "--to", &to], syn].concat())?;
    ensure!(answer.confirmation.result == Confirmed::Same, "the program differs: {answer:?}");
    Ok(answer)
}

/// Who answers a connection from a port of the client.
fn curl(lab: &Lab, config: &Config, port: u16) -> Result<String> {
    let mut curl = lab.client().command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "5", "--noproxy", "*", "--globoff"]);
    curl.args(["--local-port", &port.to_string()]).arg(format!("http://{}/", config.service()));
    let output = curl.output().context("curl cannot be started")?;
    ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn settled_flows(mode: Mode, ipv6: bool) -> Result<()> {
    let config = Config { ipv6, idle_timeout: "1s", ..Config::new(mode) };
    let lab = start(&config)?;
    // Backends have come up one after the other.
    lab.balancer()?.until_settled(PATIENCE)?;
    let mut seen = std::collections::BTreeSet::new();
    for port in PORTS {
        let answer = ask_about(lab.balancer()?, &config, port, &["--syn"])?;
        let slot = answer.slot.as_ref().context("no slot")?;
        ensure!(!slot.tracked && slot.owner.is_none() && slot.number < slot.of, "it is {slot:?}");
        let backend = answer.backend.as_ref().context("no backend")?;
        ensure!((backend.by, backend.service.as_str()) == (NamedBy::Current, "web"), "it is {backend:?}");
        ensure!(answer.verdict.fate == Fate::Forwarded && answer.flow.is_none(), "it is {answer:?}");
        let egress = answer.egress.as_ref().context("no egress")?;
        ensure!((egress.interface.as_str(), egress.way) == ("eth0", Way::Tx), "it is {egress:?}");
        let rewrite = answer.rewrite.as_ref().context("no rewrite")?;
        let to_backend = rewrite.outer && rewrite.to.as_deref() == Some(&backend.address);
        ensure!(to_backend == (mode == Mode::Ipip), "it is {rewrite:?}");

        let said = backend.name.clone();
        let got = curl(&lab, &config, port)?;
        ensure!(got == said, "port {port} was said to go to {said}, and went to {got}");
        seen.insert(got);
    }
    println!("{PORTS:?} went to {seen:?}");
    ensure!(seen.len() > 1, "all of them have gone to {seen:?}: that shows nothing");
    Ok(())
}

fn after_a_drain() -> Result<()> {
    let config = Config::new(Mode::Dsr);
    let lab = start(&config)?;
    let balancer = lab.balancer()?;
    let of_web1 = |port: &u16| {
        let answer = ask_about(balancer, &config, *port, &["--syn"]);
        answer.is_ok_and(|answer| answer.backend.is_some_and(|backend| backend.name == "web1"))
    };
    let port = PORTS.into_iter().find(of_web1).context("no port goes to web1")?;
    balancer.xlb(&["backend", "drain", "web/web1"])?;

    let begun = ask_about(balancer, &config, port, &["--syn"])?;
    let (slot, backend) = (begun.slot.context("no slot")?, begun.backend.context("no backend")?);
    ensure!(slot.tracked && slot.owner.as_deref() == Some("web1"), "it is {slot:?}");
    ensure!(
        Some(&backend.name) == slot.current.as_ref() && backend.name != "web1",
        "it is {backend:?}, {slot:?}"
    );
    let flow = begun.flow.context("the flow table was not looked at")?;
    ensure!(flow.enters && flow.remembered.is_none(), "it is {flow:?}");

    // What is older than the drain stays.
    let older = ask_about(balancer, &config, port, &[])?;
    let old = older.backend.context("no backend")?;
    ensure!((old.name.as_str(), old.by) == ("web1", NamedBy::Owner), "it is {old:?}");

    // Asking has not remembered it: it begins now.
    let got = curl(&lab, &config, port)?;
    ensure!(got == backend.name, "the connection was said to go to {}, and went to {got}", backend.name);
    let known = ask_about(balancer, &config, port, &[])?;
    let (flow, old) = (known.flow.context("no flow")?, known.backend.context("no backend")?);
    ensure!(flow.remembered.as_ref() == Some(&got) && !flow.dead, "it is {flow:?}");
    ensure!((&old.name, old.by) == (&got, NamedBy::Flow), "it is {old:?}");

    let (from, to) = (client(&config, port).to_string(), config.service().to_string());
    let page = balancer.xlb(&["explain", "--from", &from, "--to", &to])?;
    println!("{page}");
    for part in ["tracked, current ", ", owner web1; flow remembered: ", "(by its flow)", "byte for byte"] {
        ensure!(page.contains(part), "it does not say {part:?}: {page}");
    }
    Ok(())
}

fn every_fate() -> Result<()> {
    let config = Config::new(Mode::Dsr);
    let mut lab = Lab::start(3, Mode::Dsr)?;
    let toml = config.toml()
        + r#"
[[service]]
name = "closed"
address = "192.0.2.10"
port = 443
protocol = "tcp"
mode = "dsr"
allow = ["198.51.100.0/24"]
deny = ["198.51.100.128/25"]
backend = [{ name = "web1", address = "10.77.0.21" }]

[[service]]
name = "empty"
address = "192.0.2.10"
port = 8080
protocol = "tcp"
mode = "dsr"
"#;
    let balancer = lab.start_balancer(&xlb_binary(), &toml)?;
    balancer.until_all_serve(PATIENCE)?;
    let rows: &[(&[&str], Fate, Option<&str>, &str)] = &[
        (&["--to", "192.0.2.10:443"], Fate::Forwarded, None, "list       allowed by 198.51.100.0/24"),
        (&["--to", "192.0.2.10:80"], Fate::Forwarded, None, "list       no list"),
        (&["--to", "192.0.2.10:81"], Fate::Dropped, Some("no-service"), "verdict    dropped: no-service"),
        (&["--to", "192.0.2.10:8080"], Fate::Dropped, Some("no-backend"), "settled, current none"),
        (&["--to", "10.77.0.2:80"], Fate::Passed, Some("not-vip"), "verdict    passed: not-vip"),
        (
            &["--to", "192.0.2.10:80", "--protocol", "udp"],
            Fate::Dropped,
            Some("no-service"),
            "packet     udp ",
        ),
    ];
    for (words, fate, reason, line) in rows {
        agrees(balancer, &[&["--from", "198.51.100.7:40000"], *words].concat(), *fate, *reason, line)?;
    }
    let rows: &[(&[&str], Fate, Option<&str>, &str)] = &[
        (
            &["--from", "198.51.100.200:1", "--to", "192.0.2.10:443"],
            Fate::Dropped,
            Some("source-denied"),
            "list       denied by 198.51.100.128/25",
        ),
        (
            &["--from", "203.0.113.9:1", "--to", "192.0.2.10:443"],
            Fate::Dropped,
            Some("source-denied"),
            "list       denied: no prefix allows it",
        ),
        (
            &["--from", "127.0.0.1:1", "--to", "192.0.2.10:80"],
            Fate::Dropped,
            Some("martian-source"),
            "service    web (tcp 192.0.2.10:80, dsr)",
        ),
        (
            &["--protocol", "icmp", "--from", "198.51.100.7", "--to", "192.0.2.10"],
            Fate::Answered,
            Some("echo-reply"),
            "packet     icmp 198.51.100.7 -> 192.0.2.10",
        ),
        (
            &["--from", "[2001:db8:1::7]:40000", "--to", "[2001:db8::10]:80"],
            Fate::Passed,
            Some("not-vip"),
            "packet     tcp [2001:db8:1::7]:40000 -> [2001:db8::10]:80, ack",
        ),
    ];
    for (words, fate, reason, line) in rows {
        agrees(balancer, words, *fate, *reason, line)?;
    }
    Ok(())
}

fn agrees(balancer: &Balancer, words: &[&str], fate: Fate, reason: Option<&str>, line: &str) -> Result<()> {
    let typed = words.join(" ");
    let answer = ask(balancer, words)?;
    ensure!(answer.version == 1, "{typed}: its version is {}", answer.version);
    let verdict = &answer.verdict;
    ensure!((verdict.fate, verdict.reason.as_deref()) == (fate, reason), "{typed}: it is {verdict:?}");
    ensure!(answer.confirmation.result == Confirmed::Same, "{typed}: it is {:?}", answer.confirmation);
    let page = balancer.xlb(&[&["explain"], words].concat())?;
    ensure!(page.contains(line), "{typed}: it does not say {line:?}: {page}");
    println!("{typed}\n{page}");
    Ok(())
}

fn changes_nothing() -> Result<()> {
    // Without checks only what is asked comes to the services.
    let config = Config { check: false, ..Config::new(Mode::Dsr) };
    let lab = start(&config)?;
    let balancer = lab.balancer()?;
    // A tracked slot has more to be written.
    balancer.xlb(&["backend", "drain", "web/web1"])?;
    curl(&lab, &config, 41_999)?;
    let before = state(balancer)?;
    for port in PORTS {
        for syn in [&["--syn"][..], &[]] {
            ask_about(balancer, &config, port, syn)?;
        }
        let from = client(&config, port).to_string();
        ask(balancer, &["--from", &from, "--to", "192.0.2.10:81"])?;
    }
    let after = state(balancer)?;
    ensure!(before == after, "before {before}\n after {after}");
    Ok(())
}

/// Everything that is counted of services, and all tables that remember something.
fn state(balancer: &Balancer) -> Result<String> {
    let status =
        || Ok::<Status, anyhow::Error>(serde_json::from_str(&balancer.xlb(&["status", "-o", "json"])?)?);
    // The daemon looks through the flow table once a second.
    let since = status()?.uptime_seconds;
    let status = wait::until("another look at the flow table", PATIENCE, || {
        let status = status()?;
        ensure!(status.uptime_seconds > since + 1, "it is up for {} s", status.uptime_seconds);
        Ok(status)
    })?;
    // What is passed is the node's own traffic, which goes on.
    let reasons: Vec<_> = status.reasons.iter().filter(|reason| reason.action != Action::Pass).collect();
    let backends = balancer.xlb(&["backend", "list", "-o", "json"])?;
    Ok(format!("{reasons:?}\n{:?}\n{backends}", status.memory))
}

fn a_capture() -> Result<()> {
    let config = Config::new(Mode::Dsr);
    let lab = start(&config)?;
    let balancer = lab.balancer()?;
    let mac = ask_about(balancer, &config, 40_000, &[])?.packet.destination_mac;
    let mac: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    let mac = mac.try_into().ok().context("a MAC has six bytes")?;
    let to_service = Header::Tcp { ends: (client(&config, 40_001), config.service()), syn: true };
    let to_nobody =
        Header::Tcp { ends: (client(&config, 40_001), SocketAddr::new(VIP4.into(), 81)), syn: true };
    let file = lab.directory().join("two.pcap");
    write(&file, &[to_service.frame(mac), to_nobody.frame(mac), to_nobody.frame([2, 9, 9, 9, 9, 9])])?;

    let path = file.to_str().context("a path in ASCII")?;
    let asked = |number: &str| ask(balancer, &["--pcap", path, "--number", number]);
    let first = asked("1")?;
    let typed = ask_about(balancer, &config, 40_001, &["--syn"])?;
    ensure!(first == typed, "captured {first:?}\n   typed {typed:?}");
    let second = asked("2")?;
    ensure!(second.verdict.reason.as_deref() == Some("no-service"), "it is {second:?}");
    let third = asked("3")?;
    ensure!(third.verdict.reason.as_deref() == Some("other-mac"), "it is {third:?}");
    refused(balancer, &["--pcap", path, "--number", "4"], "has no packet 4: there are only 3")
}

fn write(file: &Path, frames: &[Vec<u8>]) -> Result<()> {
    let header = PcapHeader { datalink: DataLink::ETHERNET, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(std::fs::File::create(file)?, header)?;
    for frame in frames {
        let length = u32::try_from(frame.len())?;
        writer.write_packet(&PcapPacket::new(Duration::ZERO, length, frame))?;
    }
    Ok(())
}

fn what_cannot_be() -> Result<()> {
    let config = Config::new(Mode::Dsr);
    let lab = start(&config)?;
    let balancer = lab.balancer()?;
    let text = lab.directory().join("xlb.toml");
    let text = text.to_str().context("a path in ASCII")?;
    let (four, six) = ("198.51.100.7:1", "[2001:db8::10]:80");
    let rows: &[(&[&str], &str)] = &[
        (&["--from", four, "--to", six], "different families"),
        (
            &["--from", "198.51.100.7", "--to", "192.0.2.10:80"],
            "from 198.51.100.7: the port is missing: write 198.51.100.7:PORT",
        ),
        (&["--from", four, "--to", "2001:db8::10"], "write [2001:db8::10]:PORT"),
        (&["--from", "web", "--to", "192.0.2.10:80"], "from web: is no address with a port"),
        (
            &["--protocol", "icmp", "--from", four, "--to", "192.0.2.10"],
            "icmp has no ports: write 198.51.100.7",
        ),
        (
            &["--protocol", "udp", "--syn", "--from", four, "--to", "192.0.2.10:80"],
            "only a tcp packet can have it",
        ),
        (&["--interface", "eht0", "--from", four, "--to", "192.0.2.10:80"], "did you mean eth0?"),
        (&["--pcap", text, "--number", "1"], "is not a capture: neither pcap nor pcapng"),
    ];
    for (words, part) in rows {
        refused(balancer, words, part)?;
    }
    Ok(())
}

/// One line, and exit code 1.
fn refused(balancer: &Balancer, words: &[&str], part: &str) -> Result<()> {
    let output = balancer.output(&[&["explain"], words].concat())?;
    let (typed, said) = (words.join(" "), String::from_utf8_lossy(&output.stderr).trim().to_owned());
    println!("{typed}: {said}");
    ensure!(output.status.code() == Some(1), "{typed}: it ended with {}", output.status);
    ensure!(said.lines().count() == 1 && said.contains(part), "{typed}: it does not say {part:?}: {said}");
    Ok(())
}
