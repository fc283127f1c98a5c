//! Boots guests: the kernel matrix and the instruction gate of `cargo xtask test` and `bench`.

use std::{path::PathBuf, process::ExitCode, thread};

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use xlb_tests::guest::{Contents, Kernel, budget::Budget, gate, matrix, paths};

/// Boots kernels in QEMU; `cargo xtask test` and `cargo xtask bench --instructions` call it.
#[derive(Debug, Parser)]
#[command(name = "xlb-guests")]
struct Cli {
    #[command(flatten)]
    build: Build,
    #[command(subcommand)]
    task: Task,
}

/// What goes into the guests.
#[derive(Debug, Args)]
struct Build {
    /// Process 1 of the guests.
    #[arg(long, value_name = "FILE")]
    guest: PathBuf,
    /// The daemon.
    #[arg(long, value_name = "FILE")]
    xlb: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Try everything on each kernel.
    Matrix {
        /// Directories of unpacked kernels.
        #[arg(required = true)]
        kernels: Vec<PathBuf>,
    },
    /// Count the instructions of every bench case and compare with the budget.
    Instructions {
        /// Directory of an unpacked kernel.
        kernel: PathBuf,
        /// Write what was counted into the budget file instead.
        #[arg(long)]
        record: bool,
    },
    /// Count a packet's whole way, through xlb and through the kernel's own balancers.
    Paths {
        /// Directory of an unpacked kernel.
        kernel: PathBuf,
    },
}

fn main() -> Result<ExitCode> {
    let Cli { build, task } = Cli::parse();
    let contents = Contents { guest: build.guest, xlb: build.xlb };
    match task {
        Task::Matrix { kernels } => try_all(&kernels, &contents),
        Task::Instructions { kernel, record } => {
            let kernel = Kernel::in_directory(&kernel)?;
            instructions(&kernel, &contents, record)
        }
        Task::Paths { kernel } => {
            print!("{}", paths::run(&Kernel::in_directory(&kernel)?, &contents)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A guest keeps one processor busy, so that as many run beside each other as there are.
fn try_all(kernels: &[PathBuf], contents: &Contents) -> Result<ExitCode> {
    let kernels = kernels.iter().map(|kernel| Kernel::in_directory(kernel)).collect::<Result<Vec<_>>>()?;
    let (mut passed, mut failed) = (0, 0);
    for some in kernels.chunks(thread::available_parallelism().map_or(1, usize::from)) {
        let verdicts: Vec<_> = thread::scope(|scope| {
            let guests: Vec<_> =
                some.iter().map(|kernel| scope.spawn(move || matrix::run(kernel, contents))).collect();
            guests.into_iter().map(|guest| guest.join()).collect()
        });
        for (kernel, verdict) in some.iter().zip(verdicts) {
            let verdict = verdict.unwrap_or_else(|_| bail!("the thread of its guest has panicked"));
            match verdict {
                Ok(verdict) => {
                    println!("{}", verdict.text);
                    passed += verdict.passed;
                    failed += verdict.failed;
                }
                // The other kernels are tried all the same.
                Err(error) => {
                    println!("{}: FAILED: {error:#}\n", kernel.release);
                    failed += 1;
                }
            }
        }
    }
    Ok(summary(passed, failed))
}

fn instructions(kernel: &Kernel, contents: &Contents, record: bool) -> Result<ExitCode> {
    let costs = gate::count(kernel, contents)?;
    let file = gate::budget_file();
    if record {
        Budget::of(&kernel.release, &costs).write(&file)?;
    }
    let verdict = gate::compare(kernel, &costs, &Budget::read(&file)?, &file);
    println!("{}", verdict.text);
    Ok(summary(verdict.passed, verdict.failed))
}

/// A run that has tried nothing has not passed.
fn summary(passed: usize, failed: usize) -> ExitCode {
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
