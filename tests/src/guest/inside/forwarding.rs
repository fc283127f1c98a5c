//! A lab in the guest: the real daemon between a client and web servers.
//!
//! Emulated, all of it is some twenty times slower than on the host. So there are few requests, and no health checks, whose
//! limits are made for the host.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::report::Report;
use crate::lab::{Config, Lab, Mode, Plan, client, xlb_binary};

const WEBS: u8 = 2;
const REQUESTS: usize = 100;
/// For one request, which takes a tenth of a second here.
const LIMIT: Duration = Duration::from_secs(3);

pub(super) fn check(report: &mut Report) -> Result<()> {
    // With and without an outer header, and both families, in as few labs as that takes.
    let labs = [("lab dsr, IPv4", Mode::Dsr, false), ("lab ipip, IPv6", Mode::Ipip, true)];
    for (name, mode, ipv6) in labs {
        report.result(name, forwards(mode, ipv6))?;
    }
    Ok(())
}

fn forwards(mode: Mode, ipv6: bool) -> Result<()> {
    let config = Config { ipv6, check: false, weights: vec![1; WEBS.into()], ..Config::new(mode) };
    let mut lab = Lab::start(WEBS, mode)?;
    lab.balance(&xlb_binary(), &config)?;
    // Where nothing gets through it is said at once, not after as many limits as there are requests.
    let first =
        lab.client().run(|| client::get(config.service(), "/", LIMIT).context("the first request"))?;
    ensure!(first.status == 200, "the first request's status is {}", first.status);
    let plan = Plan { workers: 2, per_second: None, total: Some(REQUESTS), limit: LIMIT };
    let samples = lab.load(config.service(), plan).complete();
    ensure!(samples.len() == REQUESTS, "{} requests were made, of {REQUESTS}", samples.len());
    for sample in &samples {
        if let Err(error) = &sample.outcome {
            bail!("a request failed: {error}");
        }
    }
    for web in &lab.webs {
        let answered = samples.iter().filter(|sample| sample.outcome.as_deref() == Ok(web.name())).count();
        ensure!(answered > REQUESTS / 4, "{} has answered {answered} of {REQUESTS} requests", web.name());
    }
    // A connection has at least its SYN, its request, and an acknowledgment or two.
    let packets: u64 = lab.balancer()?.backends()?.iter().map(|backend| backend.packets).sum();
    ensure!(packets >= 4 * REQUESTS as u64, "{REQUESTS} requests, but the program counted {packets} packets");
    Ok(())
}
