//! Tests that need more than a compiler: root, BPF, programs.
//!
//! Where something is missing a test is reported as ignored, with the reason; where `XLB_REQUIRE=1` promises that everything
//! is there (CI), it fails. It never passes.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Why the tests of a file cannot run here; `None` when they can.
pub type Missing = Option<String>;

/// Whether this process may load BPF programs and make network namespaces.
#[must_use]
pub fn root() -> Missing {
    (!nix::unistd::geteuid().is_root()).then(|| "needs root: run the test command with sudo".to_owned())
}

/// Runs the trials, or reports every one of them as what `missing` makes of it.
#[must_use]
pub fn run(missing: &Missing, trials: Vec<Trial>) -> ExitCode {
    run_with(&Arguments::from_args(), missing, trials)
}

/// As [`run`], with arguments of the caller's making.
#[must_use]
pub fn run_with(arguments: &Arguments, missing: &Missing, trials: Vec<Trial>) -> ExitCode {
    let trials = match missing {
        None => trials,
        Some(reason) => {
            eprintln!("these tests cannot run here: {reason}");
            let promised = std::env::var_os("XLB_REQUIRE").is_some_and(|value| value == "1");
            trials.into_iter().map(|trial| unable(&trial, reason, promised)).collect()
        }
    };
    libtest_mimic::run(arguments, trials).exit_code()
}

fn unable(trial: &Trial, reason: &str, promised: bool) -> Trial {
    let text = format!("cannot run here: {reason}");
    Trial::test(trial.name(), move || Err(text.into())).with_ignored_flag(!promised)
}
