//! Process 1 of a guest: does one job, says what it has found, and switches the machine off.

use anyhow::{Result, ensure};
use clap::Parser;
use xlb_tests::guest::{Job, inside};

/// Process 1 of a guest that `cargo xtask test` boots; of no use elsewhere.
#[derive(Debug, Parser)]
struct Arguments {
    job: Job,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // On a host it would mount over /dev and switch the power off.
    ensure!(
        std::process::id() == 1,
        "this is process 1 of a guest: `cargo xtask test --kernel 6.12` boots one"
    );
    inside::main(arguments.job)
}
