//! A lab: a client, a balancer and web servers, each in a network namespace of its own, on one switch.
//!
//! Everything in it is real (kernel, nginx, `xlb`) and nothing leads out of it. The tests and the live view of `cargo
//! xtask run` use the same one. Dropping it ends its processes and removes whatever it has made; what a killed
//! one leaves behind is removed when the next one starts.

mod balancer;
pub mod client;
mod config;
pub mod leftovers;
mod load;
mod netns;
mod network;
pub(crate) mod process;
mod receiver;
pub mod signals;
pub mod wait;
mod web;
mod xdp;

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

pub use self::{
    balancer::{Backend, Balancer, Interface, SOCKET, xlb_binary},
    config::{Config, Mode},
    load::{Load, Plan, Sample},
    netns::Netns,
    network::{VIP4, VIP6, web_address},
    receiver::Receiver,
    web::Web,
};

/// Size of what web servers give at `/blob`.
const BLOB_BYTES: usize = 4 << 20;

/// A running lab. Fields are dropped from the top: users of a namespace before the namespace.
#[derive(Debug)]
pub struct Lab {
    /// The balancer, once [`Lab::balance`] was called.
    balancer: Option<Balancer>,
    /// The web servers, all running.
    pub webs: Vec<Web>,
    _testbed: xdp::Testbed,
    client: Arc<Netns>,
    lb: Netns,
    _switch: Netns,
    directory: Directory,
    /// How many `xlb decap` were started.
    receivers: AtomicU32,
}

impl Lab {
    /// Lays the cables and starts `webs` web servers, which can receive `mode`; those of mode `gue` need [`Lab::receive`].
    ///
    /// # Errors
    /// Not root, something is not installed or not built, or the kernel refuses.
    pub fn start(webs: u8, mode: Mode) -> Result<Self> {
        ensure!(!wait::stopping(), "interrupted");
        can_run()?;
        leftovers::remove_dead();
        let directory = Directory::create()?;
        let network::Network { client, lb, webs: namespaces, switch } =
            network::Network::create(&directory.name, webs, mode)?;
        let mut testbed = xdp::Testbed::load()?;
        testbed.attach("pass", &switch, "lb")?;
        let blob = blob();
        let mut webs = Vec::new();
        for (netns, number) in namespaces.into_iter().zip(1..) {
            let mut web = Web::new(&format!("web{number}"), netns, &directory.path, &blob)?;
            if mode == Mode::Ipip {
                testbed.attach("decap", web.netns(), "eth0")?;
            }
            web.start()?;
            webs.push(web);
        }
        let client = Arc::new(client);
        Ok(Self {
            balancer: None,
            webs,
            _testbed: testbed,
            client,
            lb,
            _switch: switch,
            directory,
            receivers: AtomicU32::new(0),
        })
    }

    /// Starts `xlb run` and waits until every backend gets traffic.
    ///
    /// # Errors
    /// It does not start, or a backend gets no traffic.
    pub fn balance(&mut self, xlb: &Path, config: &Config) -> Result<&mut Balancer> {
        let balancer = self.start_balancer(xlb, &config.toml())?;
        if let Err(error) = balancer.until_all_serve(Duration::from_secs(10)) {
            ensure!(!wait::stopping(), "{error:#}");
            bail!("{error:#}\nxlb run says:\n{}", balancer.log());
        }
        Ok(balancer)
    }

    /// Starts `xlb run` and waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub fn start_balancer(&mut self, xlb: &Path, config: &str) -> Result<&mut Balancer> {
        // The one before, if any, must be off the interface first.
        self.balancer = None;
        Ok(self.balancer.insert(Balancer::start(xlb, &self.lb, &self.directory.path, config)?))
    }

    /// SIGTERM to `xlb run`; how it ended, and the end of its log.
    ///
    /// # Errors
    /// It was not started, or does not end.
    pub fn stop_balancer(&mut self) -> Result<(ExitStatus, String)> {
        let mut balancer = self.balancer.take().context("this lab has no balancer")?;
        let status = balancer.terminate()?;
        Ok((status, balancer.log()))
    }

    /// Runs an `xlb run` that is expected to end at once; how it ended, and what it said.
    ///
    /// # Errors
    /// It cannot be started, or does not end.
    pub fn run_to_end(&self, xlb: &Path, config: &str, socket: &str) -> Result<(ExitStatus, String)> {
        balancer::run_to_end(xlb, &self.lb, &self.directory.path, config, socket)
    }

    /// Starts `xlb decap` with these arguments on a web server, counted from 0.
    ///
    /// # Errors
    /// There is no such server, or it does not start.
    pub fn receive(&self, xlb: &Path, web: usize, arguments: &[&str]) -> Result<Receiver> {
        let (web, log) = self.receiving(web)?;
        Receiver::start(xlb, web.netns(), log, arguments)
    }

    /// Runs an `xlb decap` that is expected to end at once; how it ended, and what it said.
    ///
    /// # Errors
    /// It cannot be started, or does not end.
    pub fn receive_to_end(&self, xlb: &Path, web: usize, arguments: &[&str]) -> Result<(ExitStatus, String)> {
        let (web, log) = self.receiving(web)?;
        receiver::run_to_end(xlb, web.netns(), &log, arguments)
    }

    /// A web server, and a new log for an `xlb decap` there.
    fn receiving(&self, web: usize) -> Result<(&Web, PathBuf)> {
        let web = self.webs.get(web).with_context(|| format!("the lab has no web server {web}"))?;
        let number = self.receivers.fetch_add(1, Ordering::Relaxed);
        Ok((web, self.directory.path.join(format!("decap{number}.log"))))
    }

    /// The balancer.
    ///
    /// # Errors
    /// It was not started.
    pub fn balancer(&self) -> Result<&Balancer> {
        self.balancer.as_ref().context("this lab has no balancer yet")
    }

    /// The client's namespace.
    #[must_use]
    pub fn client(&self) -> &Netns {
        &self.client
    }

    /// The balancer's namespace.
    #[must_use]
    pub fn lb(&self) -> &Netns {
        &self.lb
    }

    /// Where the files of this lab are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// What every web server gives at `/blob`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn blob(&self) -> Result<Vec<u8>> {
        Ok(fs::read(self.directory.path.join("web1/root/blob"))?)
    }

    /// Traffic from the client to a service.
    #[must_use]
    pub fn load(&self, service: SocketAddr, plan: Plan) -> Load {
        Load::start(&self.client, service, plan)
    }
}

/// Whether a lab can be started here.
///
/// # Errors
/// The reason why not.
pub fn can_run() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the lab needs root to create network namespaces: run it with sudo"
    );
    web::installed()?;
    let testbed = crate::testbed::path();
    ensure!(testbed.exists(), "{} is not there: `cargo xtask build` makes it", testbed.display());
    Ok(())
}

/// The lab's directory, whose name is the lab's, and its lock.
#[derive(Debug)]
struct Directory {
    name: String,
    path: PathBuf,
    _lock: File,
}

impl Directory {
    fn create() -> Result<Self> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = format!("xlb-{}-{number}", std::process::id());
        let path = leftovers::directory(&name);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let lock = leftovers::lock(&path).with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { name, path, _lock: lock })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Bytes that differ at every offset modulo any packet size.
fn blob() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(BLOB_BYTES).collect()
}
