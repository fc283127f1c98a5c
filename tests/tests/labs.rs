//! Labs: the balancer between real clients and real web servers.
//!
//! A test that cannot run here is reported as ignored, with the reason; where `XLB_REQUIRE=1` says that the machine has
//! what it takes, it fails instead. The tests are in the files below, by the question they ask.

#[path = "labs/capture.rs"]
mod capture;
#[path = "labs/changes.rs"]
mod changes;
#[path = "labs/daemon.rs"]
mod daemon;
#[path = "labs/explain.rs"]
mod explain;
#[path = "labs/forwarding.rs"]
mod forwarding;
#[path = "labs/fragments.rs"]
mod fragments;
#[path = "labs/leftovers.rs"]
mod leftovers;
#[path = "labs/receiving.rs"]
mod receiving;

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, anyhow, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use xlb_tests::{
    lab::{self, Plan, Sample, signals},
    requirement,
};

/// A test and its name.
type Test = (&'static str, fn() -> Result<()>);

/// Traffic while something changes: fast enough to hit the moment, slow enough for two cores.
const STEADY: Plan = Plan { workers: 8, per_second: Some(400), total: None, limit: Duration::from_secs(3) };

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Labs measure shares and times: they do not share two cores well.
    arguments.test_threads.get_or_insert(1);
    if let Err(error) = signals::handle(|| ()) {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    let missing = can_run().err().map(|reason| format!("{reason:#}"));
    let tests = [
        forwarding::TESTS,
        fragments::TESTS,
        receiving::TESTS,
        changes::TESTS,
        daemon::TESTS,
        explain::TESTS,
        capture::TESTS,
        leftovers::TESTS,
    ]
    .concat();
    let code = requirement::run_with(&arguments, &missing, tests.into_iter().map(trial).collect());
    let left = lab::leftovers::own();
    if !left.is_empty() {
        eprintln!("error: the labs have left behind {}", left.join(" "));
        return ExitCode::FAILURE;
    }
    code
}

fn trial((name, test): Test) -> Trial {
    Trial::test(name, move || test().map_err(|error| Failed::from(format!("{error:#}"))))
}

fn can_run() -> Result<()> {
    lab::can_run()?;
    let xlb = lab::xlb_binary();
    ensure!(xlb.exists(), "{} is not there: `cargo xtask build` makes it", xlb.display());
    Ok(())
}

/// Fails with the first of the requests that failed.
fn all_answered<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Result<usize> {
    let mut count = 0;
    for sample in samples {
        if let Err(error) = &sample.outcome {
            return Err(anyhow!("after {count} good requests one failed after {:?}: {error}", sample.took));
        }
        count += 1;
    }
    Ok(count)
}

/// Requests that `server` has answered.
fn answered_by(samples: &[Sample], server: &str) -> usize {
    samples.iter().filter(|sample| sample.outcome.as_deref() == Ok(server)).count()
}
