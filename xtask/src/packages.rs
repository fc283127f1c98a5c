//! Which Debian packages are needed, and getting those that are missing.
//!
//! Whether something is there is asked of the file system, not of the package manager: that is quick, and
//! what another distribution or the user put there counts as well.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use crate::shell::{self, say};

/// A Debian package, and the programs or files that make it unnecessary (one of them is enough).
pub(crate) struct Package {
    name: &'static str,
    proofs: &'static [&'static str],
}

/// What building bpf-linker needs: LLVM 22, Polly (which LLVM's CMake files name), a C++ library to link.
pub(crate) const LINKER: &[Package] = &[
    Package { name: "llvm-22-dev", proofs: &["/usr/lib/llvm-22/bin/llvm-config"] },
    Package { name: "libpolly-22-dev", proofs: &["/usr/lib/llvm-22/lib/libPolly.a"] },
    Package { name: "g++", proofs: &["g++", "c++"] },
];

/// Debian's current Rust, for machines where rustup cannot supply the source of `core`.
pub(crate) const RUST: &[Package] = &[
    Package { name: "rustc-web", proofs: &[] },
    Package { name: "cargo-web", proofs: &[] },
    Package { name: "rust-web-src", proofs: &[] },
];

/// The clippy that belongs to Debian's current Rust.
pub(crate) const CLIPPY: &[Package] =
    &[Package { name: "rust-web-clippy", proofs: &["/usr/bin/cargo-clippy"] }];

/// What the lab and the tests run.
pub(crate) const LAB: &[Package] = &[
    Package { name: "nginx-light", proofs: &["nginx"] },
    Package { name: "iproute2", proofs: &["ip"] },
    Package { name: "ethtool", proofs: &["ethtool"] },
    Package { name: "curl", proofs: &["curl"] },
];

/// What boots other kernels: the emulator, what unpacks and reads modules, what makes programs small.
pub(crate) const GUESTS: &[Package] = &[
    Package { name: "qemu-system-x86", proofs: &["qemu-system-x86_64"] },
    Package { name: "kmod", proofs: &["depmod"] },
    Package { name: "xz-utils", proofs: &["xz"] },
    Package { name: "binutils", proofs: &["strip"] },
];

/// What sets up the balancers of the kernel that the bench compares with.
pub(crate) const PEERS: &[Package] =
    &[Package { name: "ipvsadm", proofs: &["ipvsadm"] }, Package { name: "nftables", proofs: &["nft"] }];

/// Sees to it that the packages, or what proves them unnecessary, are there.
pub(crate) fn ensure(packages: &[Package], purpose: &str) -> Result<()> {
    let missing: Vec<&str> = packages.iter().filter(|p| !p.is_there()).map(|p| p.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if shell::which("apt-get").is_none() {
        bail!("{purpose} needs what Debian packages as {names}: install it and try again");
    }
    if !shell::is_root() {
        bail!("{purpose} needs {names}: type `sudo apt-get install {names}` and try again");
    }
    say("setup", format_args!("installing {names} with apt-get, for {purpose}"));
    // Package lists can be missing, or name versions that the mirror no longer has.
    if !is_installable(&missing) || shell::run(&mut install(&missing)).is_err() {
        say("setup", "fetching package lists with apt-get update");
        shell::run(apt_get().arg("update"))?;
        shell::run(&mut install(&missing))?;
    }
    Ok(())
}

impl Package {
    fn is_there(&self) -> bool {
        self.proofs.iter().any(|proof| match proof.starts_with('/') {
            true => Path::new(proof).exists(),
            false => shell::which(proof).is_some(),
        })
    }
}

fn is_installable(names: &[&str]) -> bool {
    shell::output(install(names).arg("--simulate")).is_some()
}

fn install(names: &[&str]) -> Command {
    let mut command = apt_get();
    command.args(["install", "--yes", "--no-install-recommends"]).args(names);
    command
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").env("DEBIAN_FRONTEND", "noninteractive");
    command
}
