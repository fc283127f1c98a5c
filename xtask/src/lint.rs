//! What a change must pass before it is tested.
//!
//! Every step runs whatever the others found, so one run shows everything there is to mend.

use anyhow::{Result, bail};

use crate::{
    bpf,
    commands::cargo,
    shell::{self, say},
};

/// Formatting, clippy for host and BPF, documentation.
pub(crate) fn lint() -> Result<()> {
    let bpf = bpf::Builder::ensure()?;
    let workspace = ["--workspace", "--exclude", "lb-ebpf"];
    let mut failed = Vec::new();
    let mut step = |name: &'static str, result: Result<()>| {
        if let Err(error) = result {
            say("lint", format_args!("{name}: {error:#}"));
            failed.push(name);
        }
    };

    say("lint", "formatting");
    step("formatting", shell::run(cargo("fmt").args(["--all", "--check"])));

    // The daemon embeds the object, so checking it needs one.
    step("bpf build", bpf.build());

    say("lint", "clippy");
    let deny = ["--", "-D", "warnings"];
    step("clippy", shell::run(cargo("clippy").args(workspace).arg("--all-targets").args(deny)));

    say("lint", "clippy for BPF");
    step("clippy for BPF", clippy_bpf(&bpf));

    say("lint", "documentation");
    let mut doc = cargo("doc");
    step("documentation", shell::run(doc.args(workspace).arg("--no-deps").env("RUSTDOCFLAGS", "-Dwarnings")));

    if !failed.is_empty() {
        bail!("lint found something in: {}", failed.join(", "));
    }
    say("lint", "clean");
    Ok(())
}

fn clippy_bpf(bpf: &bpf::Builder) -> Result<()> {
    bpf.toolchain.ensure_clippy()?;
    shell::run(bpf.cargo("clippy")?.args(["--", "-D", "warnings"]))
}
