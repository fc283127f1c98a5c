//! Does `xlb decap` on a web server take in what the balancer encapsulates?

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use xlb_tests::lab::{Config, Lab, Mode, Receiver, client, wait, xlb_binary};

use crate::{
    Test,
    forwarding::{curls, transfers},
};

pub(crate) const TESTS: &[Test] = &[
    ("decap_ipip_v4", || receives(Mode::Ipip, false, &[])),
    ("decap_ipip_v6", || receives(Mode::Ipip, true, &[])),
    ("decap_gue_v4", || receives(Mode::Gue, false, &[])),
    ("decap_gue_v6", || receives(Mode::Gue, true, &[])),
    ("decap_generic", || receives(Mode::Ipip, false, &["--generic"])),
    ("a_decap_that_cannot_be", a_decap_that_cannot_be),
];

const RULES: [&str; 10] = [
    "--interface",
    "eth0",
    "--from",
    "10.77.0.2",
    "--from",
    "fd77::/64",
    "--vip",
    "192.0.2.10",
    "--vip",
    "2001:db8::10",
];

fn receives(mode: Mode, ipv6: bool, more: &[&str]) -> Result<()> {
    let config = Config { ipv6, weights: vec![1], ..Config::new(mode) };
    // No web server of such a lab takes an outer header off by itself.
    let mut lab = Lab::start(1, Mode::Dsr)?;
    let receiver = lab.receive(&xlb_binary(), 0, &[&RULES[..], more].concat())?;
    lab.balance(&xlb_binary(), &config)?;
    curls(&lab, config.service())?;
    transfers(&lab, config.service())?;
    let how = if more.is_empty() { "eth0 (native)" } else { "eth0 (generic)" };
    ensure!(receiver.said()?.contains(how), "it says {:?}", receiver.said()?);
    releases(&lab, receiver)?;
    // It was the program that did it.
    let refused = lab.client().run(|| Ok(client::get(config.service(), "/", Duration::from_millis(300))))?;
    ensure!(refused.is_err(), "without xlb decap something came: {refused:?}");
    // And nothing of it is in the way of the next one.
    let receiver = lab.receive(&xlb_binary(), 0, &[&RULES[..], more].concat())?;
    answered(&lab, config.service())?;
    let (status, said) = receiver.end(Signal::SIGINT)?;
    ensure!(status.success(), "xlb decap ended with {status}: {said}");
    Ok(())
}

/// SIGTERM takes the program off and shows what it has counted.
fn releases(lab: &Lab, receiver: Receiver) -> Result<()> {
    ensure!(link(lab)?.contains("prog/xdp"), "no program on the interface: {}", link(lab)?);
    let (status, said) = receiver.end(Signal::SIGTERM)?;
    println!("{said}");
    ensure!(status.success(), "xlb decap ended with {status}: {said}");
    ensure!(!link(lab)?.contains("xdp"), "the program is still there: {}", link(lab)?);
    // Megabytes have come, in full-size packets; checks, ARP and neighbor discovery beside them.
    ensure!(packets(&said, "decapsulated")? > 5000, "too little was taken in: {said}");
    ensure!(packets(&said, "passed, not-encapsulated")? > 0, "no check has come: {said}");
    for fate in ["passed, bad-length", "passed, unlisted-source", "dropped, not-ecn-capable"] {
        ensure!(packets(&said, fate)? == 0, "{fate}: {said}");
    }
    Ok(())
}

/// A figure of the report.
fn packets(said: &str, fate: &str) -> Result<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix(fate)?.strip_prefix(": "));
    let (number, _) =
        line.and_then(|line| line.split_once(" packets, ")).with_context(|| format!("no {fate}: {said}"))?;
    Ok(number.parse()?)
}

/// What a request gets, once it gets something.
fn answered(lab: &Lab, service: SocketAddr) -> Result<()> {
    wait::until("an answer", Duration::from_secs(5), || {
        let reply = lab.client().run(|| Ok(client::get(service, "/", Duration::from_secs(1))?))?;
        ensure!(reply.status == 200, "the status is {}", reply.status);
        Ok(())
    })
}

/// What cannot start says why in one line, and what to do, and disturbs nobody.
fn a_decap_that_cannot_be() -> Result<()> {
    let lab = Lab::start(1, Mode::Dsr)?;
    let receiver = lab.receive(&xlb_binary(), 0, &RULES)?;
    let rows: [(&str, &[&str], &[&str]); 8] = [
        (
            "no interface",
            &["--from", "10.0.0.1", "--vip", "192.0.2.1"],
            &["no --interface", "--interface eth0"],
        ),
        ("no source", &["--interface", "eth0", "--vip", "192.0.2.1"], &["no --from", "--from 192.0.2.1"]),
        ("no VIP", &["--interface", "eth0", "--from", "10.0.0.1"], &["no --vip", "--vip 192.0.2.10"]),
        (
            "an unknown interface",
            &["--interface", "eth00", "--from", "10.0.0.1", "--vip", "192.0.2.1"],
            &["eth00", "did you mean eth0?"],
        ),
        (
            "no prefix",
            &["--interface", "eth0", "--from", "10.0.0.0/33", "--vip", "192.0.2.1"],
            &["--from", "10.0.0.0/33", "write one such as"],
        ),
        (
            "a prefix with bits behind it",
            &["--interface", "eth0", "--from", "10.0.0.1/24", "--vip", "192.0.2.1"],
            &["--from", "write 10.0.0.0/24"],
        ),
        (
            "no address",
            &["--interface", "eth0", "--from", "10.0.0.1", "--vip", "web"],
            &["--vip", "web", "write one such as"],
        ),
        ("an interface in use", &RULES, &["eth0", "another XDP program", "ip link set dev eth0 xdp off"]),
    ];
    for (what, arguments, words) in rows {
        let (status, said) = lab.receive_to_end(&xlb_binary(), 0, arguments)?;
        println!("{what}: {}", said.trim());
        ensure!(status.code() == Some(1), "{what}: it ended with {status}: {said}");
        ensure!(said.trim().lines().count() == 1, "{what}: it should say one line: {said}");
        for word in words {
            ensure!(said.contains(word), "{what}: it does not say {word}: {said}");
        }
    }
    // The first one is unimpressed.
    let (status, said) = receiver.end(Signal::SIGTERM)?;
    ensure!(status.success(), "xlb decap ended with {status}: {said}");
    Ok(())
}

/// What `ip` says about the web server's interface.
fn link(lab: &Lab) -> Result<String> {
    let web = lab.webs.first().context("the lab has a web server")?;
    let output = web.netns().command("ip").args(["-details", "link", "show", "eth0"]).output();
    Ok(String::from_utf8_lossy(&output.context("ip cannot be started")?.stdout).into_owned())
}
