//! Does `xlb run` say what is wrong with a kernel that is too old?

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use super::init::VIRTIO;
use super::report::Report;
use crate::lab::xlb_binary;

pub(super) fn check(report: &mut Report) -> Result<()> {
    report.result("xlb run says in one line that the kernel is too old", refuses())
}

fn refuses() -> Result<()> {
    let config = "/tmp/xlb.toml";
    fs::write(config, format!("[node]\nname = \"guest\"\ninterfaces = [\"{VIRTIO}\"]\n"))?;
    let mut xlb = Command::new(xlb_binary());
    let output = xlb.args(["run", "--config", config]).output().context("xlb cannot be started")?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let expected = format!("xlb: kernel {} is too old: xlb needs 6.1 or newer", release.trim());
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "it ended with {}, and said {said:?}", output.status);
    ensure!(said.trim() == expected, "it said {said:?}, not {expected:?}");
    Ok(())
}
