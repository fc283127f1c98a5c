//! Where bpf-linker comes from.
//!
//! It links the bitcode of the BPF crates into one object, and must be built against an LLVM at least as new as
//! rustc's. One on `PATH` is taken if its version fits, else it is built once, into the target directory.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    packages::{self, LINKER},
    shell::{self, say},
    workspace,
};

/// The LLVM it is built against.
pub(crate) const LLVM: u32 = 22;

const VERSION: &str = "0.13.0";
/// Patch releases fit, others may want other options.
const FITS: &str = "0.13.";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// The directory of a bpf-linker that fits; built if there is none.
pub(crate) fn ensure() -> Result<PathBuf> {
    let built = workspace::tools().join("bin/bpf-linker");
    let found = [shell::which("bpf-linker"), Some(built.clone())].into_iter().flatten().find(|f| fits(f));
    let file = match found {
        Some(file) => file,
        None => {
            build()?;
            if !fits(&built) {
                bail!(
                    "{} does not run: remove {} and try again",
                    built.display(),
                    workspace::tools().display()
                );
            }
            built
        }
    };
    say("setup", format_args!("bpf-linker: {}", file.display()));
    let dir = file.parent().context("bpf-linker has no directory")?;
    Ok(dir.to_path_buf())
}

/// Whether it starts (its LLVM library may be gone) and is a version we know.
fn fits(file: &Path) -> bool {
    shell::output(Command::new(file).arg("--version"))
        .is_some_and(|version| version.split_whitespace().any(|word| word.starts_with(FITS)))
}

fn build() -> Result<()> {
    packages::ensure(LINKER, "building bpf-linker")?;
    say("setup", format_args!("building bpf-linker {VERSION} against LLVM {LLVM}: once, about a minute"));
    let tools = workspace::tools();
    let mut cargo = Command::new(env_cargo());
    cargo
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", "llvm-22"])
        .arg("--root")
        .arg(&tools)
        // Kept apart from the workspace's own artifacts: removed below.
        .arg("--target-dir")
        .arg(tools.join("build"))
        .env("LLVM_PREFIX", LLVM_PREFIX)
        .env("LLVM_SYS_221_PREFIX", LLVM_PREFIX);
    shell::run(&mut cargo)?;
    // Some hundred megabytes that nobody needs again; what cannot be removed harms nobody.
    let _ = std::fs::remove_dir_all(tools.join("build"));
    Ok(())
}

/// The cargo that runs us.
pub(crate) fn env_cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
