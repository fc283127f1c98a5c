//! The tests that boot other kernels: gets what they need and starts `xlb-guests`, which does the rest.

use std::{env::consts::ARCH, path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::{
    kernels::{self, Kernel},
    packages::{self, GUESTS, PEERS},
    shell::{self, say},
    workspace,
};

/// The kernels that every run of the tests boots: the oldest that xlb supports, and Debian's current one.
const MATRIX: [&str; 2] = ["6.1", "6.12"];
/// The kernel that instructions are counted on.
const COUNTED: &str = "6.12";

/// Matrix and instruction gate. Where they cannot run, the reason is printed; with `require` that is an error.
pub(crate) fn everything(bin: &Path, require: bool) -> Result<()> {
    let kernels = match get(&MATRIX.map(str::to_owned)) {
        Ok(kernels) => kernels,
        Err(error) if require => return Err(error),
        Err(error) => {
            say("test", format_args!("no other kernel is booted, no instruction counted: {error:#}"));
            return Ok(());
        }
    };
    say("test", "the kernel matrix");
    let matrix = shell::run(&mut try_all(bin, &kernels));
    say("test", "the instruction gate");
    let counted: Vec<_> = kernels.iter().filter(|kernel| kernel.series == COUNTED).collect();
    let gate = counted.iter().try_for_each(|kernel| shell::run(&mut count(bin, kernel)));
    matrix.and(gate)
}

/// The kernel matrix on these kernels.
pub(crate) fn matrix(bin: &Path, series: &[String]) -> Result<()> {
    let kernels = get(series)?;
    shell::exec(&mut try_all(bin, &kernels))
}

/// The instruction gate, or with `record` what it compares with; then whole paths.
pub(crate) fn instructions(bin: &Path, record: bool) -> Result<()> {
    packages::ensure(PEERS, "comparing with the kernel's own balancers")?;
    let kernels = get(&[COUNTED.to_owned()])?;
    kernels.iter().try_for_each(|kernel| {
        let mut count = count(bin, kernel);
        if record {
            count.arg("--record");
        }
        shell::run(&mut count)?;
        let mut paths = guests(bin);
        shell::run(paths.arg("paths").arg(&kernel.root))
    })
}

fn get(series: &[String]) -> Result<Vec<Kernel>> {
    ensure!(ARCH == "x86_64", "guests are x86_64, this machine is {ARCH}");
    packages::ensure(GUESTS, "booting other kernels")?;
    kernels::ensure(series)
}

fn try_all(bin: &Path, kernels: &[Kernel]) -> Command {
    let mut command = guests(bin);
    command.arg("matrix").args(kernels.iter().map(|kernel| &kernel.root));
    command
}

fn count(bin: &Path, kernel: &Kernel) -> Command {
    let mut command = guests(bin);
    command.arg("instructions").arg(&kernel.root);
    command
}

fn guests(bin: &Path) -> Command {
    let mut command = Command::new(bin.join("xlb-guests"));
    command.arg("--guest").arg(bin.join("xlb-guest")).arg("--xlb").arg(bin.join("xlb"));
    command.env("XLB_BPF_DIR", workspace::bpf_dir());
    command
}
