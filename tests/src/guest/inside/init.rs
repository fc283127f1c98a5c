//! What an init does: file systems, modules, interfaces, the end.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount as mount_one},
    sys::reboot::{RebootMode, reboot},
};

use super::super::initramfs::MODULES;

/// The interface of the machine itself.
pub(super) const VIRTIO: &str = "eth0";

/// Mounts what programs expect.
pub(super) fn mount() -> Result<()> {
    let mounts = [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
        ("bpf", "/sys/fs/bpf"),
    ];
    for (kind, path) in mounts {
        mount_one(Some(kind), path, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("cannot mount {kind} on {path}"))?;
    }
    Ok(())
}

/// Loads the modules and switches the interfaces on.
pub(super) fn bring_up() -> Result<()> {
    let order = Path::new(MODULES).join("order");
    let order = fs::read_to_string(&order).with_context(|| format!("cannot read {}", order.display()))?;
    for path in order.lines() {
        let module = File::open(path).with_context(|| format!("cannot open {path}"))?;
        finit_module(&module, c"", ModuleInitFlags::empty())
            .with_context(|| format!("cannot load {path}"))?;
    }
    ip(&["link", "set", "lo", "up"])?;
    // Nobody is at the other end, who would take what IPv6 asks there.
    let ipv6 = format!("/proc/sys/net/ipv6/conf/{VIRTIO}/disable_ipv6");
    fs::write(&ipv6, "1").with_context(|| format!("cannot write {ipv6}"))?;
    ip(&["link", "set", VIRTIO, "up"])
}

/// Runs `ip`.
pub(super) fn ip(words: &[&str]) -> Result<()> {
    run("ip", words)
}

/// Runs a program.
pub(super) fn run(program: &str, words: &[&str]) -> Result<()> {
    let output = Command::new(program).args(words).output();
    let output = output.with_context(|| format!("{program} cannot be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", words.join(" "), said.trim());
    Ok(())
}

/// Does not return.
pub(super) fn power_off() -> Result<()> {
    reboot(RebootMode::RB_POWER_OFF).context("cannot switch the machine off").map(|never| match never {})
}
