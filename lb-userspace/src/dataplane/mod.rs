//! The data plane as the control plane sees it: tables to write, packets to wait for, counters to read.
//!
//! [`kernel::Kernel`] is the real one, [`memory::Memory`] the same tables without a kernel behind them. Who decides what is
//! written is `reconcile`; nobody else holds a `&mut` to either. [`decap`] is the program of the receiving side.

pub mod captured;
mod connections;
pub mod decap;
pub mod dry_run;
mod grace;
pub mod host;
pub mod kernel;
pub mod memory;
mod pod;
mod region;
pub mod services;
mod shelf;
pub mod tables;

use std::collections::BTreeMap;
use std::io;

use lb_common::abi::backend::{Backend, BackendId};
use lb_common::abi::connection::{Connection, ListKey};
use lb_common::abi::control::Capture;
use lb_common::abi::counters::{self, Counter};
use lb_common::abi::features::Features;
use lb_common::abi::service::ServiceTable;
use lb_common::abi::slot::Slot;
use lb_common::reason::{AnswerKind, DropReason, Event, PassReason};

pub use grace::Grace;
use tables::Tables;

use crate::desired::wire;
use crate::model::Prefix;

/// Whether a connection is over, by what is known of it and of the backend's side of it.
pub type IsOver = Box<dyn Fn(&Connection, Option<&Connection>) -> bool + Send>;

/// The verbs of a data plane.
pub trait Dataplane {
    /// The tables, for reading as a packet would.
    fn tables(&self) -> &Tables;

    /// The tables, for writing.
    fn tables_mut(&mut self) -> &mut Tables;

    /// A counter by its index in `lb_common::abi::counters`, summed over CPUs.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    fn counter(&self, index: u32) -> io::Result<Counter>;

    /// Sets a counter to zero.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn clear_counter(&mut self, index: u32) -> io::Result<()>;

    /// Begins to wait until every packet that is being worked on now is done: what the tables no longer name may be reused
    /// after that.
    fn grace(&self) -> Grace;

    /// Enters a service's list of sources under a number that no packet looks at yet.
    ///
    /// # Errors
    /// When the kernel refuses: no memory, or more prefixes than there is room for.
    fn set_list(&mut self, number: u32, list: &BTreeMap<Prefix, bool>) -> io::Result<()>;

    /// Takes a list out that no packet looks at any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn clear_list(&mut self, number: u32, list: &BTreeMap<Prefix, bool>) -> io::Result<()>;

    /// Sets which backend a QUIC server ID names.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn set_server(&mut self, number: u32, server_id: u16, id: Option<BackendId>) -> io::Result<()>;

    /// Makes the program one that can do `features`; the tables stay.
    ///
    /// # Errors
    /// When it does not load; the one before stays.
    fn set_features(&mut self, features: Features) -> io::Result<()>;

    /// Goes through the connections of mode `fullnat` and forgets those that `is_over` says, given a connection and the
    /// backend's side of it. It takes a while, and goes on by itself; while it does, nothing is begun.
    fn sweep_connections(&mut self, is_over: IsOver);

    /// Connections of mode `fullnat` that the last sweep has left.
    fn connections(&self) -> u64;

    /// Sets the interfaces of this node, and the MAC addresses that frames for it are sent to.
    fn set_interfaces(&mut self, interfaces: &[(u32, [u8; 6])]) {
        self.tables_mut().set_interfaces(interfaces);
    }

    /// Replaces source addresses of mode `fullnat` from `base` on.
    fn set_sources(&mut self, base: u32, addresses: &[[u8; 16]]) {
        self.tables_mut().set_sources(base, addresses);
    }

    /// Sets the second that packets are seen at.
    fn set_tick(&mut self, tick_seconds: u32) {
        self.tables_mut().set_tick(tick_seconds);
    }

    /// Says which packets are captured.
    fn set_capture(&mut self, capture: &Capture) {
        self.tables_mut().set_capture(capture);
    }

    /// Replaces a backend's entry.
    fn set_backend(&mut self, id: BackendId, backend: &Backend) {
        self.tables_mut().set_backend(id, backend);
    }

    /// Replaces slots from `base` on.
    fn set_slots(&mut self, base: u32, slots: &[Slot]) {
        self.tables_mut().set_slots(base, slots);
    }

    /// Puts another service table into effect.
    fn publish(&mut self, table: &ServiceTable) {
        self.tables_mut().publish(table);
    }

    /// Packets passed for a reason.
    ///
    /// # Errors
    /// As [`Self::counter`].
    fn passed(&self, reason: PassReason) -> io::Result<Counter> {
        self.counter(counters::of_pass(reason))
    }

    /// Packets dropped for a reason.
    ///
    /// # Errors
    /// As [`Self::counter`].
    fn dropped(&self, reason: DropReason) -> io::Result<Counter> {
        self.counter(counters::of_drop(reason))
    }

    /// Packets answered at once.
    ///
    /// # Errors
    /// As [`Self::counter`].
    fn answered(&self, kind: AnswerKind) -> io::Result<Counter> {
        self.counter(counters::of_answer(kind))
    }

    /// How often something happened.
    ///
    /// # Errors
    /// As [`Self::counter`].
    fn happened(&self, event: Event) -> io::Result<u64> {
        Ok(self.counter(counters::of_event(event))?.packets)
    }

    /// Packets sent to a backend.
    ///
    /// # Errors
    /// As [`Self::counter`].
    fn forwarded(&self, id: BackendId) -> io::Result<Counter> {
        self.counter(counters::of_backend(id))
    }
}

/// A prefix of a list as the kernel's trie wants it: leading bits, and what they are of.
fn list_key(number: u32, prefix: &Prefix) -> (u32, ListKey) {
    let key = ListKey { service: number.to_be_bytes(), source: wire(prefix.address) };
    (u32::BITS + u32::from(prefix.length_bits), key)
}
