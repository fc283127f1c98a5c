//! Does every request reach a web server, spread by weight, whatever its size?

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use xlb_tests::lab::{Config, Lab, Mode, Plan, client, xlb_binary};

use crate::{Test, all_answered, answered_by};

pub(crate) const TESTS: &[Test] = &[
    ("dsr_v4", || spreads(Mode::Dsr, false, "native")),
    ("dsr_v6", || spreads(Mode::Dsr, true, "native")),
    ("ipip_v4", || spreads(Mode::Ipip, false, "native")),
    ("ipip_v6", || spreads(Mode::Ipip, true, "native")),
    ("nat_v4", || spreads(Mode::Nat, false, "native")),
    ("nat_v6", || spreads(Mode::Nat, true, "native")),
    ("fullnat_v4", || spreads(Mode::Fullnat, false, "native")),
    ("fullnat_v6", || spreads(Mode::Fullnat, true, "native")),
    ("generic_xdp", || spreads(Mode::Dsr, false, "generic")),
];

const REQUESTS: usize = 3000;
const CURLS: usize = 12;
const TRANSFERS: usize = 6;
/// Of the whole, that a backend's part may differ from its weight's.
const TOLERANCE: f64 = 0.05;

fn spreads(mode: Mode, ipv6: bool, xdp_mode: &'static str) -> Result<()> {
    let config = Config { ipv6, weights: vec![1, 1, 2], xdp_mode, ..Config::new(mode) };
    let mut lab = Lab::start(3, mode)?;
    let interfaces = lab.balance(&xlb_binary(), &config)?.interfaces()?;
    ensure!(
        interfaces.iter().any(|interface| interface.name == "eth0" && interface.xdp == xdp_mode),
        "eth0 should be {xdp_mode}: {interfaces:?}"
    );
    requests(&lab, &config)?;
    curls(&lab, config.service())?;
    transfers(&lab, config.service())?;
    // It was the program that did it.
    for backend in lab.balancer()?.backends()? {
        ensure!(backend.packets > 0, "no packet was counted: {backend:?}");
    }
    Ok(())
}

/// Connections by the thousand, and where they went.
fn requests(lab: &Lab, config: &Config) -> Result<()> {
    let begun = Instant::now();
    let limit = Duration::from_secs(5);
    let plan = Plan { workers: 8, per_second: None, total: Some(REQUESTS), limit };
    let samples = lab.load(config.service(), plan).complete();
    let answered = all_answered(&samples)?;
    ensure!(answered == REQUESTS, "{answered} requests were made, of {REQUESTS}");
    println!("{answered} connections in {:?}", begun.elapsed());

    let sum: u32 = config.weights.iter().sum();
    for (weight, web) in config.weights.iter().zip(&lab.webs) {
        let expected = f64::from(*weight) / f64::from(sum);
        let share = f64::from(u32::try_from(answered_by(&samples, web.name()))?)
            / f64::from(u32::try_from(REQUESTS)?);
        println!("{}: {:.1} % for {:.1} %", web.name(), 100.0 * share, 100.0 * expected);
        ensure!(
            (share - expected).abs() <= TOLERANCE,
            "{} has {share:.3} of the connections, its weight is {expected:.3} of all",
            web.name()
        );
    }
    Ok(())
}

/// A client that is not ours.
pub(crate) fn curls(lab: &Lab, service: SocketAddr) -> Result<()> {
    for _ in 0..CURLS {
        let mut curl = lab.client().command("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "5", "--noproxy", "*"]);
        let output = curl.arg(format!("http://{service}/")).output().context("curl cannot be started")?;
        ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr).trim());
        let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(lab.webs.iter().any(|web| web.name() == name), "curl got {name:?}");
    }
    Ok(())
}

/// Megabytes each way: full-size segments, with the outer header if there is one.
pub(crate) fn transfers(lab: &Lab, service: SocketAddr) -> Result<()> {
    let blob = lab.blob()?;
    let limit = Duration::from_secs(10);
    for number in 0..TRANSFERS {
        let begun = Instant::now();
        let down = lab.client().run(|| client::get(service, "/blob", limit).context("download"))?;
        ensure!(down.status == 200, "the download's status is {}", down.status);
        ensure!(down.body == blob, "{} bytes came, not the same {}", down.body.len(), blob.len());

        let name = format!("{number}");
        let path = format!("/upload/{name}");
        let up = lab.client().run(|| client::put(service, &path, &blob, limit).context("upload"))?;
        ensure!(up.status == 201, "the upload's status is {}", up.status);
        let kept = lab.webs.iter().find_map(|web| web.uploaded(&name)).context("nobody has the upload")?;
        ensure!(kept == blob, "{} bytes were kept, not the same {}", kept.len(), blob.len());
        println!("{} bytes down and up in {:?}", blob.len(), begun.elapsed());
    }
    Ok(())
}
