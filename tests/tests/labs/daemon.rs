//! Does the daemon come and go as it should?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xlb_tests::lab::{Config, Lab, Mode, Plan, SOCKET, xlb_binary};

use crate::{STEADY, Test, all_answered};

pub(crate) const TESTS: &[Test] = &[
    ("sigterm_releases_the_interface", sigterm_releases_the_interface),
    ("a_run_that_cannot_be", a_run_that_cannot_be),
    ("a_command_that_cannot_be", a_command_that_cannot_be),
];

fn sigterm_releases_the_interface() -> Result<()> {
    let config = Config::new(Mode::Dsr);
    let mut lab = Lab::start(3, config.mode)?;
    // The second time shows that nothing of the first is in its way.
    for _ in 0..2 {
        lab.balance(&xlb_binary(), &config)?;
        ensure!(link(&lab)?.contains("prog/xdp"), "no program on the interface: {}", link(&lab)?);
        let plan = Plan { total: Some(100), per_second: None, ..STEADY };
        all_answered(&lab.load(config.service(), plan).complete())?;
        let (status, log) = lab.stop_balancer()?;
        ensure!(status.success(), "xlb run ended with {status}: {log}");
        ensure!(!link(&lab)?.contains("xdp"), "the program is still there: {}", link(&lab)?);
    }
    Ok(())
}

/// A daemon that cannot start says why in one line, and disturbs nobody.
fn a_run_that_cannot_be() -> Result<()> {
    let config = Config::new(Mode::Dsr);
    let mut lab = Lab::start(3, config.mode)?;
    lab.balance(&xlb_binary(), &config)?;
    let sound = config.toml();
    let rows = [
        ("a socket in use", sound.clone(), SOCKET, 1, SOCKET),
        ("an interface in use", sound.clone(), "other.sock", 1, "eth0"),
        ("an unknown interface", sound.replace("eth0", "eth7"), "other.sock", 3, "other.toml:3"),
        ("no native XDP", sound.replace("eth0", "lo"), "other.sock", 1, "xdp_mode"),
        ("broken TOML", sound.replace("port = 80", "port = "), "other.sock", 3, "other.toml:9"),
        ("an unknown key", sound.replace("port = 80", "prot = 80"), "other.sock", 3, "port"),
    ];
    for (what, toml, socket, code, word) in rows {
        let (status, said) = lab.run_to_end(&xlb_binary(), &toml, socket)?;
        println!("{what}: {}", said.trim());
        ensure!(status.code() == Some(code), "{what}: it ended with {status}: {said}");
        ensure!(said.contains(word), "{what}: it does not say {word}: {said}");
        let errors = said.lines().filter(|line| !line.contains("INFO")).count();
        // A file may have several problems, one line each.
        ensure!(code == 3 || errors == 1, "{what}: it should say one line: {said}");
    }
    // The first one is unimpressed.
    lab.balancer()?.until_all_serve(Duration::from_secs(1))?;
    let plan = Plan { total: Some(100), per_second: None, ..STEADY };
    all_answered(&lab.load(config.service(), plan).complete()).map(drop)
}

fn a_command_that_cannot_be() -> Result<()> {
    let config = Config::new(Mode::Dsr);
    let mut lab = Lab::start(3, config.mode)?;
    let balancer = lab.balance(&xlb_binary(), &config)?;
    let rows: [(&[&str], &str); 6] = [
        (&["backend", "drain", "web/web9"], "web9"),
        (&["backend", "drain", "wep/web1"], "wep"),
        (&["backend", "delete", "web/web9"], "web9"),
        (&["backend", "add", "web/web1", "--address", "10.77.0.30"], "web1"),
        (&["backend", "add", "web/web9", "--address", "10.77.0.21"], "10.77.0.21"),
        (&["backend", "add", "web/web9", "--address", "fd77::21"], "fd77::21"),
    ];
    for (words, word) in rows {
        let output = balancer.output(words)?;
        let said = String::from_utf8_lossy(&output.stderr);
        println!("{}: {}", words.join(" "), said.trim());
        ensure!(output.status.code() == Some(1), "{}: it ended with {}", words.join(" "), output.status);
        ensure!(said.trim().lines().count() == 1, "{}: it should say one line: {said}", words.join(" "));
        ensure!(said.contains(word), "{}: it does not say {word}: {said}", words.join(" "));
    }
    balancer.until_all_serve(Duration::from_secs(1))?;
    ensure!(balancer.backends()?.len() == 3, "a command that failed has changed something");
    Ok(())
}

/// What `ip` says about the balancer's interface.
fn link(lab: &Lab) -> Result<String> {
    let output = lab.lb().command("ip").args(["-details", "link", "show", "eth0"]).output();
    Ok(String::from_utf8_lossy(&output.context("ip cannot be started")?.stdout).into_owned())
}
