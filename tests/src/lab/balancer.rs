//! The balancer of a lab: `xlb run` inside, and the command line outside, as an operator would use it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde::Deserialize;

use super::{netns::Netns, process::Process, wait, xdp};

/// Name of the socket in the lab's directory.
pub const SOCKET: &str = "xlb.sock";

/// A running `xlb run`.
#[derive(Debug)]
pub struct Balancer {
    xlb: PathBuf,
    socket: PathBuf,
    process: Process,
}

/// A row of `xlb backend list -o json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Backend {
    /// The service it belongs to.
    pub service: String,
    /// Its name in the service.
    pub name: String,
    /// `up`, `down`, `unknown` or `unchecked`.
    pub health: String,
    /// `ready` or `drain`.
    pub admin: String,
    /// `resolved` or `unresolved`.
    pub neighbor: String,
    /// Whether new connections go there.
    pub serving: bool,
    /// Its part of the Maglev table.
    pub share: f64,
    /// Packets sent there.
    pub packets: u64,
}

#[derive(Deserialize)]
struct Backends {
    backends: Vec<Backend>,
}

#[derive(Deserialize)]
struct Services {
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    slots_tracked: u32,
}

#[derive(Deserialize)]
struct Status {
    interfaces: Vec<Interface>,
}

/// An interface in `xlb status -o json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// How the program is attached: `native` or `generic`.
    pub xdp: String,
}

impl Balancer {
    /// Starts the daemon and waits until it answers.
    pub(super) fn start(xlb: &Path, netns: &Netns, directory: &Path, config: &str) -> Result<Self> {
        let (file, socket) = (directory.join("xlb.toml"), directory.join(SOCKET));
        fs::write(&file, config)?;
        let log = directory.join("xlb.log");
        let process = Process::spawn("xlb run", command(xlb, netns, &file, &socket), &log)?;
        let mut balancer = Self { xlb: xlb.to_path_buf(), socket, process };
        wait::until("the first answer of xlb run", Duration::from_secs(10), || {
            balancer.process.must_run()?;
            balancer.xlb(&["status"]).map(drop)
        })?;
        Ok(balancer)
    }

    /// What to type for this balancer, for instance `backend list`.
    #[must_use]
    pub fn command_line(&self, words: &str) -> String {
        format!("{} --socket {} {words}", self.xlb.display(), self.socket.display())
    }

    /// Runs the command line; gives what it printed.
    ///
    /// # Errors
    /// It fails; the error is what it said.
    pub fn xlb(&self, words: &[&str]) -> Result<String> {
        let output = self.output(words)?;
        let words = words.join(" ");
        ensure!(
            output.status.success(),
            "xlb {words} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the command line, whatever comes of it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn output(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.xlb);
        command.arg("--socket").arg(&self.socket).args(words);
        command.output().with_context(|| format!("{} cannot be started", self.xlb.display()))
    }

    /// All backends, as `xlb backend list` reports them.
    ///
    /// # Errors
    /// The command fails, or prints something else.
    pub fn backends(&self) -> Result<Vec<Backend>> {
        let text = self.xlb(&["backend", "list", "-o", "json"])?;
        let list: Backends =
            serde_json::from_str(&text).with_context(|| format!("backend list printed {text}"))?;
        Ok(list.backends)
    }

    /// One backend.
    ///
    /// # Errors
    /// As for [`Balancer::backends`], or there is none of that name.
    pub fn backend(&self, name: &str) -> Result<Backend> {
        let found = self.backends()?.into_iter().find(|backend| backend.name == name);
        found.with_context(|| format!("backend list has no {name}"))
    }

    /// Interfaces, as `xlb status` reports them.
    ///
    /// # Errors
    /// The command fails, or prints something else.
    pub fn interfaces(&self) -> Result<Vec<Interface>> {
        let text = self.xlb(&["status", "-o", "json"])?;
        let status: Status = serde_json::from_str(&text).with_context(|| format!("status printed {text}"))?;
        Ok(status.interfaces)
    }

    /// Waits until a backend is as `is` wants it.
    ///
    /// # Errors
    /// It is not so within `limit`; the error shows how it is.
    pub fn until(&self, name: &str, limit: Duration, is: impl Fn(&Backend) -> bool) -> Result<()> {
        wait::until(&format!("the change of {name}"), limit, || {
            let backend = self.backend(name)?;
            ensure!(is(&backend), "it is {backend:?}");
            Ok(())
        })
    }

    /// Waits until no slot of any service is tracked.
    ///
    /// # Errors
    /// One is after `limit`.
    pub fn until_settled(&self, limit: Duration) -> Result<()> {
        wait::until("settled slots", limit, || {
            let text = self.xlb(&["service", "list", "-o", "json"])?;
            let list: Services =
                serde_json::from_str(&text).with_context(|| format!("service list printed {text}"))?;
            let tracked: u32 = list.services.iter().map(|service| service.slots_tracked).sum();
            ensure!(tracked == 0, "{tracked} slots are tracked");
            Ok(())
        })
    }

    /// Waits until a backend is not listed any more.
    ///
    /// # Errors
    /// It is still there after `limit`.
    pub fn until_gone(&self, name: &str, limit: Duration) -> Result<()> {
        wait::until(&format!("the end of {name}"), limit, || {
            match self.backends()?.into_iter().find(|backend| backend.name == name) {
                Some(backend) => bail!("it is {backend:?}"),
                None => Ok(()),
            }
        })
    }

    /// Waits until all backends get traffic.
    ///
    /// # Errors
    /// One of them does not within `limit`.
    pub fn until_all_serve(&self, limit: Duration) -> Result<()> {
        wait::until("traffic to every backend", limit, || {
            match self.backends()?.iter().find(|backend| !backend.serving) {
                Some(backend) => bail!("this one gets none: {backend:?}"),
                None => Ok(()),
            }
        })
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// It does not end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(Duration::from_secs(5))
    }

    /// The end of its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // In good order, so that it takes its program off; it is killed if it does not follow.
        let _ = self.terminate();
    }
}

/// Runs an `xlb run` that is expected to end at once; how it ended, and what it said.
pub(super) fn run_to_end(
    xlb: &Path,
    netns: &Netns,
    directory: &Path,
    config: &str,
    socket: &str,
) -> Result<(ExitStatus, String)> {
    let (file, log) = (directory.join("other.toml"), directory.join("other.log"));
    fs::write(&file, config)?;
    let mut process = Process::spawn("xlb run", command(xlb, netns, &file, &directory.join(socket)), &log)?;
    let status = process.wait(Duration::from_secs(5))?;
    let said = fs::read_to_string(&log)?;
    fs::remove_file(log)?;
    Ok((status, said))
}

fn command(xlb: &Path, netns: &Netns, config: &Path, socket: &Path) -> Command {
    let mut command = netns.command(xlb);
    command.arg("run").arg("--config").arg(config).arg("--socket").arg(socket);
    command
}

/// The `xlb` to test: what `XLB_BIN` says, else what was built last.
#[must_use]
pub fn xlb_binary() -> PathBuf {
    std::env::var_os("XLB_BIN").map_or_else(|| xdp::target().join("debug/xlb"), PathBuf::from)
}
