//! Does a change of the backends, wanted or not, leave the rest of the traffic alone?
//!
//! No connection of a living backend may be reset by a change, and what begins after a change must never fail.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use xlb_tests::lab::{Config, Lab, Load, Mode, Plan, Sample, web_address, xlb_binary};

use crate::{STEADY, Test, all_answered, answered_by};

pub(crate) const TESTS: &[Test] = &[
    ("killed_web_server", killed_web_server),
    ("drain_and_ready", drain_and_ready),
    ("add_and_delete", add_and_delete),
    ("backend_without_neighbor", backend_without_neighbor),
];

const PATIENCE: Duration = Duration::from_secs(10);
/// What has to go well after a change before we believe it.
const ENOUGH: usize = 300;
/// Two checks of 100 ms, their timeout, and a busy machine.
const FALL: Duration = Duration::from_secs(2);

fn killed_web_server() -> Result<()> {
    let (mut lab, config) = start(3)?;
    let load = lab.load(config.service(), STEADY);
    let mut samples = Vec::new();
    load.collect(&mut samples, "traffic", PATIENCE, |all| all.len() >= ENOUGH)?;
    all_answered(&samples)?;

    let killed = Instant::now();
    lab.webs[0].kill();
    lab.balancer()?.until("web1", FALL, |web1| web1.health == "down" && !web1.serving)?;
    let down = Instant::now();
    let after = after(&load, down)?;
    let lost = after.before.iter().filter(|sample| sample.outcome.is_err()).count();
    println!("web1 was down {:?} after its death; {lost} requests failed meanwhile", down - killed);
    all_answered(&after.since)?;
    ensure!(answered_by(&after.since, "web1") == 0, "web1 is dead and answers");

    lab.webs[0].start()?;
    lab.balancer()?.until("web1", PATIENCE, |web1| web1.health == "up" && web1.serving)?;
    returns(&load, "web1")
}

fn drain_and_ready() -> Result<()> {
    let (lab, config) = start(3)?;
    let load = lab.load(config.service(), STEADY);
    changed(&lab, &load, &["backend", "drain", "web/web1"], Some("web1"))?;
    let web1 = lab.balancer()?.backend("web1")?;
    ensure!(web1.admin == "drain" && web1.health == "up" && !web1.serving, "it is {web1:?}");
    changed(&lab, &load, &["backend", "ready", "web/web1"], None)?;
    returns(&load, "web1")
}

fn add_and_delete() -> Result<()> {
    let mut lab = Lab::start(4, Mode::Dsr)?;
    let config = Config { idle_timeout: "2s", ..Config::new(Mode::Dsr) };
    lab.balance(&xlb_binary(), &config)?;
    let load = lab.load(config.service(), STEADY);
    let address = web_address(4, false).to_string();
    changed(&lab, &load, &["backend", "add", "web/web4", "--address", &address, "--weight", "1"], None)?;
    lab.balancer()?.until("web4", PATIENCE, |web4| web4.serving)?;
    returns(&load, "web4")?;
    changed(&lab, &load, &["backend", "delete", "web/web4"], Some("web4"))?;
    // It is listed while it has flows, or could have some that have not sent anything lately.
    lab.balancer()?.until_gone("web4", PATIENCE)
}

fn backend_without_neighbor() -> Result<()> {
    for check in [true, false] {
        // One more backend than there are web servers.
        let config = Config { weights: vec![1; 4], check, ..Config::new(Mode::Dsr) };
        let mut lab = Lab::start(3, Mode::Dsr)?;
        let balancer = lab.start_balancer(&xlb_binary(), &config.toml())?;
        for web in ["web1", "web2", "web3"] {
            balancer.until(web, PATIENCE, |web| web.serving)?;
        }
        balancer.until("web4", PATIENCE, |web4| web4.neighbor == "unresolved" && !web4.serving)?;
        let plan = Plan { total: Some(ENOUGH), per_second: None, ..STEADY };
        all_answered(&lab.load(config.service(), plan).complete())?;
        let web4 = lab.balancer()?.backend("web4")?;
        ensure!(web4.packets == 0 && web4.neighbor == "unresolved", "it is {web4:?}");
    }
    Ok(())
}

fn start(webs: u8) -> Result<(Lab, Config)> {
    let config = Config::new(Mode::Dsr);
    let mut lab = Lab::start(webs, config.mode)?;
    lab.balance(&xlb_binary(), &config)?;
    Ok((lab, config))
}

/// Runs a command under load; what begins when it has returned succeeds, and nothing of it goes to `without`.
fn changed(lab: &Lab, load: &Load, command: &[&str], without: Option<&str>) -> Result<()> {
    let mut before = Vec::new();
    load.collect(&mut before, "traffic before a change", PATIENCE, |all| all.len() >= ENOUGH)?;
    all_answered(&before)?;

    lab.balancer()?.xlb(command)?;
    let after = after(load, Instant::now())?;
    let reset = after.before.iter().filter(|sample| sample.outcome.is_err()).count();
    ensure!(reset == 0, "{}: {reset} connections under way were reset", command.join(" "));
    all_answered(&after.since)?;
    if let Some(without) = without {
        let wrong = answered_by(&after.since, without);
        ensure!(wrong == 0, "{wrong} requests that began after `{}` went to {without}", command.join(" "));
    }
    Ok(())
}

/// Samples around a moment, until there are enough that began after it.
struct Around {
    before: Vec<Sample>,
    since: Vec<Sample>,
}

fn after(load: &Load, moment: Instant) -> Result<Around> {
    let mut samples = Vec::new();
    let since = |sample: &Sample| sample.started >= moment;
    load.collect(&mut samples, "traffic after a change", PATIENCE, |all| {
        all.iter().filter(|sample| since(sample)).count() >= ENOUGH
    })?;
    let (since, before) = samples.into_iter().partition(since);
    Ok(Around { before, since })
}

fn returns(load: &Load, server: &str) -> Result<()> {
    let what = format!("traffic to {server}");
    load.collect(&mut Vec::new(), &what, PATIENCE, |all| answered_by(all, server) >= 10)
}
