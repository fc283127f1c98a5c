//! What the commands do, in order; `lint` has its own file.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    bpf, guests, linker,
    packages::{self, GUESTS, LAB},
    shell::{self, say},
    workspace,
};

/// Everything that building and testing need.
pub(crate) fn setup() -> Result<()> {
    bpf::Builder::ensure()?;
    packages::ensure(LAB, "the lab")?;
    packages::ensure(GUESTS, "booting other kernels")?;
    say("setup", "complete");
    Ok(())
}

/// BPF objects, then the host's binaries.
pub(crate) fn build() -> Result<()> {
    build_profile(&[]).map(drop)
}

/// The lab with its live view.
pub(crate) fn run_lab(time: Option<String>) -> Result<()> {
    packages::ensure(LAB, "the lab")?;
    let bin = build_profile(&[])?;
    let mut lab = Command::new(bin.join("xlb-lab"));
    lab.arg("--xlb").arg(bin.join("xlb")).env("XLB_BPF_DIR", workspace::bpf_dir());
    if let Some(time) = time {
        lab.args(["--for", &time]);
    }
    shell::exec(&mut lab)
}

/// The balancer itself, optimised, on an interface of this machine.
pub(crate) fn run_on_interface(args: Vec<String>) -> Result<()> {
    let bin = build_profile(&["--release"])?;
    shell::exec(Command::new(bin.join("xlb")).arg("run").args(args))
}

/// All tests, then the guests. `args` go to `cargo test`: naming a package there replaces the whole workspace, and any
/// argument at all leaves the guests out, since it asks for something narrower.
pub(crate) fn test(args: Vec<String>) -> Result<()> {
    packages::ensure(LAB, "the lab tests")?;
    let bin = build_profile(&[])?;
    let mut cargo = cargo("test");
    let cargo_args: Vec<_> = args.iter().take_while(|arg| *arg != "--").collect();
    if !cargo_args.iter().any(|arg| arg.starts_with("-p") || arg.starts_with("--package")) {
        cargo.args(["--workspace", "--exclude", "lb-ebpf"]);
    }
    let everything = args.is_empty();
    cargo.args(args).env("XLB_BIN", bin.join("xlb"));
    // Where CI says so a test that cannot run has failed.
    if require() {
        cargo.env("XLB_REQUIRE", "1");
    }
    say("test", "every test of the workspace");
    shell::run(&mut cargo)?;
    if everything { guests::everything(&bin, require()) } else { Ok(()) }
}

/// The kernel matrix alone, on these kernels.
pub(crate) fn test_kernels(series: &[String]) -> Result<()> {
    packages::ensure(LAB, "the lab in a guest")?;
    guests::matrix(&build_profile(&[])?, series)
}

/// The bench's cases, in instructions.
pub(crate) fn bench_instructions(record: bool) -> Result<()> {
    packages::ensure(LAB, "guests")?;
    guests::instructions(&build_profile(&[])?, record)
}

/// Whether this machine has promised that everything can run.
fn require() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    is_set("CI") || is_set("XLB_REQUIRE")
}

/// The bench, optimised.
pub(crate) fn bench(args: Vec<String>) -> Result<()> {
    let bin = build_profile(&["--release"])?;
    shell::exec(Command::new(bin.join("xlb-bench")).args(args).env("XLB_BPF_DIR", workspace::bpf_dir()))
}

/// The cargo that runs us, on this workspace, told where the BPF objects are.
pub(crate) fn cargo(subcommand: impl AsRef<OsStr>) -> Command {
    let mut cargo = Command::new(linker::env_cargo());
    cargo
        .current_dir(workspace::root())
        .arg(subcommand)
        .env("CARGO_TARGET_DIR", workspace::target())
        .env("XLB_BPF_DIR", workspace::bpf_dir());
    cargo
}

/// Builds everything; gives the directory of the binaries.
fn build_profile(options: &[&str]) -> Result<PathBuf> {
    bpf::Builder::ensure()?.build()?;
    say("build", "daemon, command line and lab");
    shell::run(cargo("build").args(["--package", "lb-userspace", "--package", "xlb-tests"]).args(options))?;
    let profile = if options.contains(&"--release") { "release" } else { "debug" };
    Ok(workspace::target().join(Path::new(profile)))
}
