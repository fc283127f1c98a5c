//! The task that keeps next hops resolved.
//!
//! ```text
//!   routes, neighbors, links (netlink) --+
//!   addresses to resolve (core loop) ----+--> resolve --> snapshot (core loop)
//!   every 30 s, should a message be lost +       |
//!                                                +--> managed neighbors (kernel)
//! ```

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::Snapshot;
use super::resolve::{Neighbor, manage, resolve};

/// How long changes are collected before everything is resolved anew: a link that goes down is a burst of messages.
const SETTLE: Duration = Duration::from_millis(10);
/// How often everything is resolved anew without a message.
const RESYNC: Duration = Duration::from_secs(30);

/// The running task.
pub struct Watch {
    addresses: watch::Sender<BTreeSet<IpAddr>>,
    /// What is known; changes when the kernel's answer does.
    pub snapshots: watch::Receiver<Snapshot>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// Sets which addresses are resolved from now on.
    pub fn set_addresses(&self, addresses: BTreeSet<IpAddr>) {
        self.addresses.send_replace(addresses);
    }

    /// Stops, and leaves the neighbors to the kernel's ordinary care.
    pub async fn stop(self) {
        // A task that has ended already has nothing left to stop.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Starts the task, once it has resolved `addresses` for the first time.
///
/// # Errors
/// When the kernel gives no netlink socket, or does not answer.
pub async fn spawn(addresses: BTreeSet<IpAddr>) -> io::Result<Watch> {
    let (connection, handle, messages) = new_multicast_connection(&[
        MulticastGroup::Link,
        MulticastGroup::Neigh,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ])?;
    tokio::spawn(connection);
    let mut worker = Worker { handle, managed: BTreeSet::new() };
    let first = worker.resolve(&addresses).await.map_err(io::Error::other)?;
    let (snapshot_sender, snapshots) = watch::channel(first);
    let (address_sender, address_receiver) = watch::channel(addresses);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(worker.run(messages.map(drop), address_receiver, snapshot_sender, stopped));
    Ok(Watch { addresses: address_sender, snapshots, stop, task })
}

struct Worker {
    handle: Handle,
    managed: BTreeSet<Neighbor>,
}

impl Worker {
    async fn run(
        mut self,
        mut messages: impl StreamExt<Item = ()> + Unpin,
        mut addresses: watch::Receiver<BTreeSet<IpAddr>>,
        snapshots: watch::Sender<Snapshot>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut resync = tokio::time::interval_at(Instant::now() + RESYNC, RESYNC);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => {
                    if message.is_none() {
                        tracing::error!("the kernel closed the netlink socket: next hops are no longer watched");
                        break;
                    }
                    let settled = Instant::now() + SETTLE;
                    while let Ok(Some(())) = tokio::time::timeout_at(settled, messages.next()).await {}
                }
                changed = addresses.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                _ = resync.tick() => {
                    // Somebody may have flushed the neighbors: they are entered again.
                    self.managed.clear();
                }
                _ = &mut stopped => break,
            }
            let wanted = addresses.borrow_and_update().clone();
            match self.resolve(&wanted).await {
                Ok(snapshot) => {
                    snapshots.send_if_modified(|known| {
                        let changed = *known != snapshot;
                        *known = snapshot;
                        changed
                    });
                }
                Err(error) => tracing::warn!(%error, "next hops could not be read: the last known ones stay"),
            }
        }
        self.release(&BTreeSet::new()).await;
    }

    async fn resolve(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<Snapshot, rtnetlink::Error> {
        let (snapshot, neighbors) = resolve(&self.handle, addresses).await?;
        self.release(&neighbors).await;
        for neighbor in &neighbors {
            if self.managed.insert(*neighbor)
                && let Err(error) = manage(&self.handle, *neighbor, true).await
            {
                let (interface, address) = neighbor;
                tracing::warn!(%address, interface, %error, "the kernel does not keep this neighbor resolved");
            }
        }
        Ok(snapshot)
    }

    /// Leaves the neighbors that are not wanted any more to themselves.
    async fn release(&mut self, wanted: &BTreeSet<Neighbor>) {
        let gone: Vec<Neighbor> = self.managed.difference(wanted).copied().collect();
        for neighbor in gone {
            self.managed.remove(&neighbor);
            // It may be gone with its interface, which is as good.
            let _ = manage(&self.handle, neighbor, false).await;
        }
    }
}
