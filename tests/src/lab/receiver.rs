//! The receiving side of a lab: `xlb decap` on a web server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use super::{netns::Netns, process::Process, wait};

const PATIENCE: Duration = Duration::from_secs(10);

/// A running `xlb decap`.
#[derive(Debug)]
pub struct Receiver {
    process: Process,
    log: PathBuf,
}

impl Receiver {
    /// Starts it with these arguments and waits until it says what it does.
    pub(super) fn start(xlb: &Path, netns: &Netns, log: PathBuf, arguments: &[&str]) -> Result<Self> {
        let mut receiver = Self { process: spawn(xlb, netns, &log, arguments)?, log };
        wait::until("the first line of xlb decap", PATIENCE, || {
            receiver.process.must_run()?;
            ensure!(receiver.said()?.contains("taking off"), "it says {:?}", receiver.said()?);
            Ok(())
        })?;
        Ok(receiver)
    }

    /// Everything it has said.
    ///
    /// # Errors
    /// Its log cannot be read.
    pub fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Sends it a signal that ends it; how it ended, and everything it has said.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(mut self, signal: Signal) -> Result<(ExitStatus, String)> {
        self.process.signal(signal)?;
        let status = self.process.wait(PATIENCE)?;
        Ok((status, self.said()?))
    }
}

/// Runs an `xlb decap` that is expected to end at once; how it ended, and what it said.
pub(super) fn run_to_end(
    xlb: &Path,
    netns: &Netns,
    log: &Path,
    arguments: &[&str],
) -> Result<(ExitStatus, String)> {
    let status = spawn(xlb, netns, log, arguments)?.wait(PATIENCE)?;
    let said = fs::read_to_string(log)?;
    fs::remove_file(log)?;
    Ok((status, said))
}

fn spawn(xlb: &Path, netns: &Netns, log: &Path, arguments: &[&str]) -> Result<Process> {
    let mut command: Command = netns.command(xlb);
    command.arg("decap").args(arguments);
    Process::spawn("xlb decap", command, log)
}
