//! Connections of mode `fullnat`: going through the kernel's table, and taking out those that are over.
//!
//! The table is a hash map of the kernel, and each look at an entry a system call; so a thread of its own does it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use aya::maps::{HashMap, MapData};
use lb_common::abi::connection::{Connection, Tuple};

use super::IsOver;
use super::pod::Shared;

type Table = HashMap<MapData, Shared<Tuple>, Shared<Connection>>;

/// The table, and who goes through it.
pub(super) struct Connections {
    fd: OwnedFd,
    left: Arc<AtomicU64>,
    sweep: Option<JoinHandle<()>>,
}

impl Connections {
    /// Over a handle of the map.
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, left: Arc::default(), sweep: None }
    }

    /// How many the last sweep has left.
    pub(super) fn count(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Begins a sweep, unless one is under way.
    pub(super) fn sweep(&mut self, is_over: IsOver) {
        if self.sweep.as_ref().is_some_and(|sweep| !sweep.is_finished()) {
            return;
        }
        let Some(mut table) = self.handle() else { return };
        let left = Arc::clone(&self.left);
        let spawned = std::thread::Builder::new().name("connections".to_owned()).spawn(move || {
            left.store(sweep(&mut table, &is_over), Ordering::Relaxed);
        });
        match spawned {
            Ok(sweep) => self.sweep = Some(sweep),
            Err(error) => tracing::warn!(%error, "no thread to go through the connections: they stay"),
        }
    }

    /// What is known of one.
    pub(super) fn get(&self, key: &Tuple) -> Option<Connection> {
        self.handle()?.get(&Shared(*key), 0).ok().map(|Shared(connection)| connection)
    }

    /// Another handle of the table, for a thread.
    fn handle(&self) -> Option<Table> {
        let copy = || {
            let fd = self.fd.try_clone()?;
            let data = MapData::from_fd(fd).map_err(std::io::Error::other)?;
            Table::try_from(aya::maps::Map::HashMap(data)).map_err(std::io::Error::other)
        };
        copy()
            .inspect_err(|error| tracing::warn!(%error, "the connections cannot be looked at: they stay"))
            .ok()
    }
}

/// Goes through all of them once; how many are left.
fn sweep(table: &mut Table, is_over: &IsOver) -> u64 {
    let mut left = 0;
    let mut over = Vec::new();
    for key in table.keys().flatten() {
        let Ok(Shared(one)) = table.get(&key, 0) else { continue };
        if one.reply != 0 {
            continue;
        }
        let reply = Shared(one.out.reversed());
        let other = table.get(&reply, 0).ok();
        if is_over(&one, other.as_ref().map(|Shared(other)| other)) {
            over.extend([key, reply]);
        } else {
            left += 1;
        }
    }
    for key in &over {
        // Whoever is gone already needs no taking out.
        let _ = table.remove(key);
    }
    left
}
