//! A process of a lab: its log, its end.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::wait;

/// A running process; dropping it kills it and waits for its end.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; everything it writes goes to the end of `log`.
    pub(crate) fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot open {}", log.display()))?;
        let errors = file.try_clone().with_context(|| format!("cannot open {}", log.display()))?;
        let child = command.stdout(file).stderr(errors).spawn();
        let child =
            child.with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_path_buf() })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        // Once it has been waited for, its number may be somebody else's.
        self.must_run()?;
        let pid = Pid::from_raw(i32::try_from(self.child.id()).context("a process id is positive")?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end within `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let Self { child, name, .. } = self;
        wait::regardless(&format!("the end of {name}"), limit, || {
            child.try_wait()?.with_context(|| format!("{name} is running"))
        })
    }

    /// Fails, with the end of its log, if it has ended by itself.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended ({status}): {}", self.name, self.log());
        }
        Ok(())
    }

    /// SIGKILL, and wait: what it served is refused from here on.
    pub(crate) fn kill(&mut self) {
        // Fails if it has ended: just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The end of what it wrote.
    #[must_use]
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        match lines.get(lines.len().saturating_sub(20)..) {
            Some(last) if !last.is_empty() => last.join("\n"),
            Some(_) | None => "its log is empty".to_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
