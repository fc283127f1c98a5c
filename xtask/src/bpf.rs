//! How the BPF objects are built: `xlb` and `decap`, which go into the binary, and `testbed`, which serves the tests.

use std::{env::consts::ARCH, path::PathBuf, process::Command};

use anyhow::Result;

use crate::{linker, shell, toolchain::Toolchain, workspace};

/// The BPF target; little-endian, as all hosts we build on.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// What compiles and links for BPF on this machine.
pub(crate) struct Builder {
    pub(crate) toolchain: Toolchain,
    /// Directory of bpf-linker.
    linker: PathBuf,
}

impl Builder {
    /// Finds compiler and linker, or gets them.
    pub(crate) fn ensure() -> Result<Self> {
        Ok(Self { toolchain: Toolchain::ensure()?, linker: linker::ensure()? })
    }

    /// Builds the objects into [`workspace::bpf_dir`].
    pub(crate) fn build(&self) -> Result<()> {
        shell::say("build", format_args!("BPF objects in {}", workspace::bpf_dir().display()));
        shell::run(&mut self.cargo("build")?)
    }

    /// `cargo build` or `cargo clippy` of the BPF crate; the options are those of aya's own build script.
    pub(crate) fn cargo(&self, subcommand: &str) -> Result<Command> {
        let mut cargo = self.toolchain.cargo();
        cargo
            .current_dir(workspace::root())
            .args([subcommand, "--package", "lb-ebpf", "--bins", "--release"])
            .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
            .arg(workspace::bpf_target());
        let path = shell::path_with(&self.linker)?;
        let path = match self.toolchain.bin() {
            Some(bin) => {
                std::env::join_paths(std::iter::once(bin.to_path_buf()).chain(std::env::split_paths(&path)))?
            }
            None => path,
        };
        // The bindings of the kernel's structures differ by architecture; BTF is made from debug information. Every kernel we
        // support runs BPF v3 (32-bit jumps), and lets programs read a packet's words at any address: without the feature a
        // word of a header is put together from single bytes.
        let flags = [
            &format!("--cfg=bpf_target_arch=\"{ARCH}\""),
            "-Cdebuginfo=2",
            "-Ctarget-cpu=v3",
            "-Clink-arg=--btf",
            "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
        ];
        cargo.env("PATH", path).env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        Ok(cargo)
    }
}
