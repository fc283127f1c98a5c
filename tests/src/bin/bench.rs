//! `cargo xtask bench`: times the data plane and prints what it found.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;
use xlb_tests::bench::report::Report;
use xlb_tests::bench::{Effort, cases, run, sizes};
use xlb_tests::requirement;

/// Times the data plane per packet, against programs that do as little as can be done.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// Write the figures to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How often every program has its turn; the minimum counts.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(7..))]
    rounds: u32,
    /// Packets in one turn.
    #[arg(long, default_value_t = 1 << 16, value_parser = clap::value_parser!(u32).range(1..))]
    packets: u32,
}

/// How often the table is computed; the program is loaded anew each time.
const TABLE_ROUNDS: u32 = 7;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(missing) = requirement::root() {
        bail!("the bench {missing}");
    }
    let effort = Effort { rounds: arguments.rounds, packets: arguments.packets };
    eprintln!("{} rounds of {} packets for each program", effort.rounds, effort.packets);
    let rows = run(effort)?;
    let report = Report::new(rows, sizes::configurations()?, cases::table_time(TABLE_ROUNDS)?);
    print!("{}", report.table());
    if let Some(path) = arguments.json {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(&path, json + "\n")
            .with_context(|| format!("{}: cannot be written", path.display()))?;
    }
    Ok(())
}
