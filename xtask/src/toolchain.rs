//! Which Rust compiles the BPF program.
//!
//! `core` has to be built for the BPF target, so the compiler must accept `-Z` options and its source must be
//! there. bpf-linker reads the bitcode that this compiler's LLVM writes, and LLVM reads what is older than
//! itself, never what is newer. The first of these that fits is taken: a nightly with its source, a nightly
//! that can get it, the active toolchain with `RUSTC_BOOTSTRAP=1`, Debian's packages.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{
    linker,
    packages::{self, CLIPPY, RUST},
    shell::{self, say},
};

/// A Rust that can compile for BPF.
#[derive(Debug)]
pub(crate) struct Toolchain {
    origin: Origin,
    /// Whether `-Z` options must be unlocked.
    bootstrap: bool,
}

#[derive(Debug)]
enum Origin {
    /// A toolchain of rustup, by its full name.
    Rustup(String),
    /// Debian's packages in /usr.
    Debian,
}

impl Toolchain {
    /// Finds one, or gets it.
    pub(crate) fn ensure() -> Result<Self> {
        let toolchain = match from_rustup() {
            Some(toolchain) => toolchain,
            None => from_debian()?,
        };
        say("setup", format_args!("BPF toolchain: {}", toolchain.describe()));
        Ok(toolchain)
    }

    /// Its cargo, in an environment where no other toolchain is named.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = match &self.origin {
            Origin::Rustup(name) => rustup_run(name, "cargo"),
            Origin::Debian => Command::new("/usr/bin/cargo"),
        };
        // Whoever started us may have named its own compiler.
        for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"]
        {
            command.env_remove(variable);
        }
        command.env_remove("RUSTUP_TOOLCHAIN");
        if matches!(self.origin, Origin::Debian) {
            command.env("RUSTC", "/usr/bin/rustc");
        }
        if self.bootstrap {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }

    /// Sees to it that its `cargo clippy` works.
    pub(crate) fn ensure_clippy(&self) -> Result<()> {
        let Origin::Rustup(name) = &self.origin else {
            return packages::ensure(CLIPPY, "clippy for BPF");
        };
        if shell::output(rustup_run(name, "cargo-clippy").arg("--version")).is_some()
            || add_component(name, "clippy")
        {
            return Ok(());
        }
        bail!("{name} has no clippy: type `rustup component add clippy --toolchain {name}` and try again")
    }

    /// The first directory of `PATH` when its tools call each other.
    pub(crate) fn bin(&self) -> Option<&'static Path> {
        matches!(self.origin, Origin::Debian).then(|| Path::new("/usr/bin"))
    }

    fn describe(&self) -> String {
        let origin = match &self.origin {
            Origin::Rustup(name) => name,
            Origin::Debian => "Debian's rustc-web",
        };
        match self.bootstrap {
            true => format!("{origin}, with RUSTC_BOOTSTRAP=1"),
            false => origin.to_owned(),
        }
    }
}

fn from_rustup() -> Option<Toolchain> {
    let list = shell::output(Command::new("rustup").args(["toolchain", "list"]))?;
    let names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let nightlies: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| name.starts_with("nightly"))
        .filter(|name| linker_reads(&mut rustup_run(name, "rustc")))
        .collect();
    let with_source = nightlies.iter().find(|name| has_source(&mut rustup_run(name, "rustc")));
    if let Some(name) = with_source.or_else(|| nightlies.iter().find(|name| add_component(name, "rust-src")))
    {
        return Some(Toolchain { origin: Origin::Rustup((*name).to_owned()), bootstrap: false });
    }
    let active = active_toolchain().filter(|name| !name.starts_with("nightly"))?;
    let fits = linker_reads(&mut rustup_run(&active, "rustc"))
        && (has_source(&mut rustup_run(&active, "rustc")) || add_component(&active, "rust-src"));
    fits.then_some(Toolchain { origin: Origin::Rustup(active), bootstrap: true })
}

fn from_debian() -> Result<Toolchain> {
    let rustc = || Command::new("/usr/bin/rustc");
    let usable =
        || linker_reads(&mut rustc()) && has_source(&mut rustc()) && Path::new("/usr/bin/cargo").exists();
    if !usable() {
        packages::ensure(RUST, "compiling for BPF")?;
    }
    if !usable() {
        bail!(
            "no Rust here can compile for BPF (its LLVM must be {} or older, its source installed): \
             type `rustup toolchain install nightly --component rust-src` and try again",
            linker::LLVM
        );
    }
    Ok(Toolchain { origin: Origin::Debian, bootstrap: true })
}

/// Whether bpf-linker can read what this compiler's LLVM writes.
fn linker_reads(rustc: &mut Command) -> bool {
    let version = shell::output(rustc.arg("-vV"));
    version.as_deref().and_then(llvm_major).is_some_and(|major| major <= linker::LLVM)
}

/// The 22 of `LLVM version: 22.1.4`.
fn llvm_major(verbose_version: &str) -> Option<u32> {
    let version = verbose_version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

/// Whether the source of `core` is where `-Z build-std` looks for it.
fn has_source(rustc: &mut Command) -> bool {
    shell::output(rustc.args(["--print", "sysroot"])).is_some_and(|sysroot| {
        PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
    })
}

fn add_component(toolchain: &str, component: &str) -> bool {
    say("setup", format_args!("adding {component} to {toolchain} with rustup"));
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add", component, "--toolchain", toolchain]);
    match shell::run(&mut rustup) {
        Ok(()) => true,
        Err(error) => {
            say("setup", format_args!("{error}; going on without it"));
            false
        }
    }
}

fn active_toolchain() -> Option<String> {
    if let Ok(name) = env::var("RUSTUP_TOOLCHAIN") {
        return Some(name);
    }
    let line = shell::output(Command::new("rustup").args(["show", "active-toolchain"]))?;
    line.split_whitespace().next().map(str::to_owned)
}

fn rustup_run(toolchain: &str, program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, program]);
    command
}

#[cfg(test)]
mod tests {
    use super::llvm_major;

    #[test]
    fn llvm_major_is_read_from_rustc() {
        assert_eq!(llvm_major("rustc 1.97.0-nightly\nhost: x\nLLVM version: 22.1.4\n"), Some(22));
        assert_eq!(llvm_major("rustc 1.97.0-nightly\n"), None);
    }
}
