//! The daemon: sets up in an order that leaves nothing behind when a step fails, runs the core loop, takes down again.
//!
//! ```text
//!   health checkers --events--> +-----------+
//!   netlink watch --snapshot--> | core loop | --plan, apply--> data plane
//!   API server ------requests-> |           |
//!   SIGHUP: file read again --> +-----------+
//! ```
//!
//! Everything that happens ends in `core::Core`, which has the only `&mut` to the data plane. Here are the tasks and
//! signals around it.

mod capture;
mod core;
mod explain;
mod report;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use lb_common::hash::FlowKey;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use self::core::Core;
use crate::api::{server, socket};
use crate::config::{Loaded, Overrides, Problems, host, load};
use crate::dataplane::kernel::{self, Attached, Kernel};
use crate::dataplane::tables::Sizes;
use crate::desired::features;
use crate::model::Node;
use crate::neighbor;

/// What `xlb run` was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Interfaces in place of the file's; empty overrides nothing.
    pub interfaces: Vec<String>,
    /// Where the API listens.
    pub socket: PathBuf,
    /// Whether the program logs every packet it drops.
    pub trace_drops: bool,
}

/// Why the daemon ended.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration is not valid; nothing was changed.
    #[error(transparent)]
    Config(#[from] Problems),
    /// Anything else.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// What does not change while the daemon runs.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Where the program is attached, and how.
    pub(crate) attached: Vec<(String, Attached)>,
    /// Since when the daemon runs.
    pub(crate) started: Instant,
}

/// Events that wait for the core loop; a burst of health changes fits.
const QUEUE: usize = 256;

/// Runs until it is told to stop.
///
/// # Errors
/// An invalid configuration, or what the system refused.
pub async fn run(options: Options) -> Result<(), Error> {
    let started = Instant::now();
    let loaded = read(&options)?;
    let socket = socket::bind(&options.socket)?;
    let mut kernel = Kernel::load(&kernel::Options {
        sizes: Sizes {
            slots: loaded.config.node.max_slots,
            flows: loaded.config.node.max_flows,
            fragments: loaded.config.node.max_fragments,
            connections: loaded.config.node.max_nat_flows,
        },
        trace_drops: options.trace_drops,
        features: features(&loaded.config),
        flow_key: FlowKey::from_secret(secret()?),
    })
    .map_err(anyhow::Error::new)?;
    if options.trace_drops {
        kernel.log_drops().map_err(anyhow::Error::new)?;
    }

    let addresses: BTreeSet<_> = core::addresses(&loaded.config);
    let mut watch = neighbor::spawn(addresses).await.context("next hops cannot be watched over netlink")?;
    let (health_sender, mut health_events) = mpsc::channel(QUEUE);
    let snapshot = watch.snapshots.borrow_and_update().clone();
    let mut core = Core::new(loaded.config.clone(), kernel, snapshot, health_sender);
    core.reconcile().map_err(anyhow::Error::new)?;
    core.on_tick().map_err(anyhow::Error::new)?;

    let attached = match attach(core.dataplane_mut(), &loaded.config.node) {
        Ok(attached) => attached,
        Err(error) => {
            watch.stop().await;
            return Err(anyhow::Error::new(error).into());
        }
    };
    let identity = Identity { attached, started };

    let (request_sender, mut requests) = mpsc::channel(QUEUE);
    let (stop_server, server_stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server::serve(socket, request_sender, async move {
        // The sender says so, or is gone: both mean stop.
        let _ = server_stopped.await;
    }));
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    tracing::info!(
        node = loaded.config.node.name,
        services = loaded.config.services.len(),
        socket = %options.socket.display(),
        "running"
    );

    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = second.tick() => {
                let before = core.leaving.len();
                if let Err(error) = core.on_tick() {
                    tracing::error!(%error, "the tables stay as they are");
                }
                if core.leaving.len() != before {
                    watch.set_addresses(core.addresses());
                }
            }
            Some(event) = health_events.recv() => {
                core.on_health(event);
                while let Ok(event) = health_events.try_recv() {
                    core.on_health(event);
                }
                settle(&mut core);
            }
            changed = watch.snapshots.changed() => {
                if changed.is_err() {
                    return Err(anyhow::anyhow!("the netlink watch has ended: next hops would go stale").into());
                }
                let snapshot = watch.snapshots.borrow_and_update().clone();
                core.on_snapshot(snapshot);
                settle(&mut core);
            }
            Some(request) = requests.recv() => {
                core.on_request(request, &identity);
                watch.set_addresses(core.addresses());
            }
            _ = hangup.recv() => {
                reload(&mut core, &options);
                watch.set_addresses(core.addresses());
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping");
    // A server that has ended already needs no telling.
    let _ = stop_server.send(());
    // Its own errors are about clients; the loop is over.
    let _ = server.await;
    watch.stop().await;
    Ok(())
}

fn attach(kernel: &mut Kernel, node: &Node) -> Result<Vec<(String, Attached)>, kernel::Error> {
    let mut attached = Vec::new();
    for interface in &node.interfaces {
        let mode = kernel.attach(interface, node.xdp_mode)?;
        tracing::info!(interface, ?mode, "attached");
        attached.push((interface.clone(), mode));
    }
    Ok(attached)
}

fn read(options: &Options) -> Result<Loaded, Problems> {
    let loaded = load(&options.config, &Overrides { interfaces: options.interfaces.clone() })?;
    host::check(&loaded)?;
    Ok(loaded)
}

/// Follows an event that nobody waits for the result of.
fn settle(core: &mut Core<Kernel>) {
    if let Err(error) = core.reconcile() {
        tracing::error!(%error, "the tables stay as they are");
    }
}

/// Reads the file again; a bad one changes nothing.
fn reload(core: &mut Core<Kernel>, options: &Options) {
    match read(options) {
        Ok(loaded) => match core.reload(loaded.config) {
            Ok(()) => tracing::info!(file = %options.config.display(), "reloaded"),
            Err(error) => tracing::error!(%error, "the configuration is refused: the one before stays"),
        },
        Err(problems) => tracing::error!(%problems, "the configuration is refused: the one before stays"),
    }
}

/// A secret for the flow hash, so that nobody outside can aim at one backend.
fn secret() -> anyhow::Result<[u8; 16]> {
    let mut secret = [0; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut secret));
    read.context("/dev/urandom gives no secret for the flow hash")?;
    Ok(secret)
}
