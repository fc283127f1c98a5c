//! `cargo xtask`: everything a developer types, from a bare machine to a running lab.
//!
//! Each command does its own set-up: what is missing is installed or built once, what is there is used.
//! The commands themselves are in [`commands`]; the questions they ask (which compiler, which linker,
//! which packages) have one file each.

mod bpf;
mod commands;
mod guests;
mod kernels;
mod linker;
mod lint;
mod packages;
mod shell;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set-up, build, run, test, lint and bench of the xlb load balancer.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Get what building and testing need: BPF toolchain, bpf-linker, Debian packages
    Setup,
    /// Build the BPF objects, then everything for the host
    Build,
    /// Start the lab; with `-- --interface IF --config FILE`, run the balancer on a real interface
    Run {
        /// Stop the lab by itself after this long, as in 30s or 5m
        #[arg(long = "for", value_name = "TIME", conflicts_with = "args")]
        time: Option<String>,
        /// Arguments of `xlb run`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run every test, then the guests; arguments are passed to `cargo test`, and leave the guests out
    Test {
        /// Boot these kernels in QEMU instead, as in 6.1 or 6.12, and try everything there
        #[arg(long = "kernel", value_name = "SERIES", conflicts_with = "args")]
        kernels: Vec<String>,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check formatting, clippy (the BPF crate too) and documentation
    Lint,
    /// Time the BPF program; arguments are passed to the bench
    Bench {
        /// Count instructions in a guest instead, and compare with the recorded budget
        #[arg(long, conflicts_with = "args")]
        instructions: bool,
        /// Record what was counted as the budget
        #[arg(long, requires = "instructions")]
        record: bool,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Setup => commands::setup(),
        Task::Build => commands::build(),
        Task::Run { time, args } if args.is_empty() => commands::run_lab(time),
        Task::Run { args, .. } => commands::run_on_interface(args),
        Task::Test { kernels, args } if kernels.is_empty() => commands::test(args),
        Task::Test { kernels, .. } => commands::test_kernels(&kernels),
        Task::Lint => lint::lint(),
        Task::Bench { instructions: true, record, .. } => commands::bench_instructions(record),
        Task::Bench { args, .. } => commands::bench(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
