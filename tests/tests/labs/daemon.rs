//! Does the daemon come and go as it should?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xlb_tests::lab::{Config, Lab, Mode, Plan, xlb_binary};

use crate::{STEADY, Test, all_answered};

pub(crate) const TESTS: &[Test] =
    &[("sigterm_releases_the_interface", sigterm_releases_the_interface), ("socket_in_use", socket_in_use)];

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

fn socket_in_use() -> Result<()> {
    let config = Config::new(Mode::Dsr);
    let mut lab = Lab::start(3, config.mode)?;
    lab.balance(&xlb_binary(), &config)?;
    let (status, said) = lab.balancer()?.run_again(lab.lb())?;
    println!("{}", said.trim());
    ensure!(status.code() == Some(1), "it ended with {status}: {said}");
    ensure!(said.trim().lines().count() == 1, "it said more than one line: {said}");
    ensure!(said.contains("xlb.sock"), "it does not name the socket: {said}");
    // The first one is unimpressed.
    lab.balancer()?.until_all_serve(Duration::from_secs(1))?;
    let plan = Plan { total: Some(100), per_second: None, ..STEADY };
    all_answered(&lab.load(config.service(), plan).complete()).map(drop)
}

/// What `ip` says about the balancer's interface.
fn link(lab: &Lab) -> Result<String> {
    let output = lab.lb().command("ip").args(["-details", "link", "show", "eth0"]).output();
    Ok(String::from_utf8_lossy(&output.context("ip cannot be started")?.stdout).into_owned())
}
