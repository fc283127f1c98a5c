//! Does the lab of `cargo xtask run` go without a trace, also when it is killed?

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};
use xlb_tests::lab::{leftovers, wait, xlb_binary};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("view_for_a_while", view_for_a_while),
    ("view_ends_with_its_input", view_ends_with_its_input),
    ("view_ends_at_sigterm", view_ends_at_sigterm),
    ("view_is_killed", view_is_killed),
];

const PATIENCE: Duration = Duration::from_secs(20);

fn view_for_a_while() -> Result<()> {
    let child = view().args(["--for", "3s"]).stdin(Stdio::null()).spawn()?;
    let pid = child.id();
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "it ended with {}: {text}", output.status);
    println!("{text}");
    for part in ["web1", "web2", "web3", "backend drain web/web1", " 0 failed; answered by"] {
        ensure!(text.contains(part), "it does not say {part:?}: {text}");
    }
    nothing_left(pid)
}

fn view_ends_with_its_input() -> Result<()> {
    let mut child = running()?;
    // Closes it.
    drop(child.stdin.take());
    ends_well(child)
}

fn view_ends_at_sigterm() -> Result<()> {
    let child = running()?;
    kill(pid(&child)?, Signal::SIGTERM)?;
    ends_well(child)
}

fn view_is_killed() -> Result<()> {
    // The orphans are ours to bury: not every container has an init that does it.
    prctl::set_child_subreaper(true)?;
    let mut child = running()?;
    let id = child.id();
    let orphans = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    child.kill()?;
    child.wait()?;
    for orphan in orphans.split_whitespace() {
        waitpid(Pid::from_raw(orphan.parse()?), None)?;
    }
    // Another lab that starts just now may be faster than we.
    println!("it has left {} things behind", left(id).len());
    leftovers::remove_dead();
    nothing_left(id)
}

fn view() -> Command {
    let mut view = Command::new(env!("CARGO_BIN_EXE_xlb-lab"));
    view.arg("--xlb").arg(xlb_binary()).stdout(Stdio::piped());
    view
}

/// One that has drawn something.
fn running() -> Result<Child> {
    let mut child = view().stdin(Stdio::piped()).spawn().context("xlb-lab cannot be started")?;
    let mut output = child.stdout.take().context("it has no output")?;
    let mut first = [0];
    std::io::Read::read_exact(&mut output, &mut first).context("it ended before it drew anything")?;
    child.stdout = Some(output);
    Ok(child)
}

fn ends_well(mut child: Child) -> Result<()> {
    let id = child.id();
    let status = wait::until("the end of the view", PATIENCE, || child.try_wait()?.context("it is running"));
    let Ok(status) = status else {
        child.kill()?;
        bail!("the view does not end");
    };
    ensure!(status.success(), "it ended with {status}");
    nothing_left(id)
}

fn pid(child: &Child) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}

fn nothing_left(id: u32) -> Result<()> {
    let left = left(id);
    ensure!(left.is_empty(), "it has left {}", left.join(" "));
    Ok(())
}

/// Namespaces, mounts, directories and processes of a lab.
fn left(id: u32) -> Vec<String> {
    let prefix = format!("xlb-{id}-");
    let names = |directory: &Path| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>()
    };
    let mut found = names(Path::new("/run/netns"));
    found.extend(names(&std::env::temp_dir()));
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    found.extend(mounts.lines().map(str::to_owned));
    // Processes tell by their command line, which names the lab's directory.
    for process in names(Path::new("/proc")) {
        let line = std::fs::read(Path::new(&process).join("cmdline")).unwrap_or_default();
        found.push(String::from_utf8_lossy(&line).replace('\0', " "));
    }
    found.retain(|name| name.contains(&prefix));
    found
}
