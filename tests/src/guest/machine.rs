//! Boots a kernel in QEMU and collects what the guest says.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Contents, Cost, Job, Line, initramfs};
use crate::lab::process::Process;

/// A kernel unpacked from Debian's packages.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// As `uname -r` tells.
    pub release: String,
    /// Directory with `boot` and `lib/modules`.
    pub(super) root: PathBuf,
}

impl Kernel {
    /// The one kernel below a directory.
    ///
    /// # Errors
    /// There is none.
    pub fn in_directory(root: &Path) -> Result<Self> {
        let boot = root.join("boot");
        let entries = fs::read_dir(&boot).with_context(|| format!("cannot read {}", boot.display()))?;
        let release = entries.flatten().find_map(|entry| {
            entry.file_name().to_str().and_then(|name| name.strip_prefix("vmlinuz-")).map(str::to_owned)
        });
        let release = release.with_context(|| format!("{} has no vmlinuz", boot.display()))?;
        Ok(Self { release, root: root.to_path_buf() })
    }

    fn image(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }
}

/// What came of a guest.
pub(super) struct Outcome {
    /// What it has said.
    pub(super) lines: Vec<Line>,
    /// From power on to power off.
    pub(super) took: Duration,
}

impl Outcome {
    /// What a guest has counted.
    pub(super) fn costs(self, kernel: &Kernel) -> Result<Vec<Cost>> {
        let mut costs = Vec::new();
        for line in self.lines {
            match line {
                Line::Cost(cost) => costs.push(cost),
                Line::Failed { name, why } => bail!("{}: {name}: {why}", kernel.release),
                Line::Program(_) | Line::Passed { .. } | Line::Done => {}
            }
        }
        Ok(costs)
    }
}

/// A guest that has not switched itself off after this has hung; the longest job takes a quarter of it on an idle machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Boots the kernel for one job and waits for its end.
///
/// A guest that did not get to the end of its job has failed with the end of its console, besides what it had found by then.
///
/// # Errors
/// QEMU does not start, or something that belongs into the guest is not there.
pub(super) fn run(kernel: &Kernel, contents: &Contents, job: Job) -> Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    fs::write(path("initramfs"), initramfs::pack(contents, kernel, job)?)?;
    let begun = Instant::now();
    let mut qemu = qemu(kernel, job, &path("initramfs"), &path("report"));
    qemu.stdin(Stdio::null());
    let mut process = Process::spawn(&format!("QEMU with {}", kernel.release), qemu, &path("console"))?;
    let ended = process.wait(LIMIT);
    let report = fs::read_to_string(path("report")).unwrap_or_default();
    // A guest that was cut off may have been so in the midst of a line.
    let mut lines: Vec<Line> = report.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
    let why = match ended {
        Ok(status) if !status.success() => Some(format!("QEMU failed ({status})")),
        Ok(_) if matches!(lines.last(), Some(Line::Done)) => None,
        Ok(_) => Some(format!("it ended in the midst of job {job}")),
        Err(error) => Some(format!("{error:#}")),
    };
    if let Some(why) = why {
        let why = format!("{why}; the end of its console:\n{}", process.log());
        lines.push(Line::Failed { name: "the guest".to_owned(), why });
    }
    Ok(Outcome { lines, took: begun.elapsed() })
}

fn qemu(kernel: &Kernel, job: Job, initramfs: &Path, report: &Path) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "1", "-m", "1024"]);
    qemu.args(["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"]);
    qemu.args(["-serial", "stdio", "-serial"]).arg(format!("file:{}", report.display()));
    // A port that leads nowhere; without a boot ROM, which would cost a second.
    qemu.args(["-netdev", "hubport,id=port,hubid=0", "-device", "virtio-net-pci,netdev=port,romfile="]);
    if job.counts_instructions() {
        // Each instruction takes one virtual nanosecond, and waiting takes no time: the guest's clock counts instructions.
        qemu.args(["-icount", "shift=0,sleep=off"]);
    }
    qemu.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(initramfs).arg("-append");
    // What the kernel does not know becomes the environment of process 1, what is behind the dashes its arguments.
    qemu.arg(format!(
        "console=ttyS0 quiet panic=-1 mitigations=off PATH=/bin:/usr/sbin XLB_BPF_DIR={} XLB_BIN={} -- {job}",
        initramfs::BPF_DIR,
        initramfs::XLB,
    ));
    qemu
}
