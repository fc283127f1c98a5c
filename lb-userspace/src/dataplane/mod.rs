//! The data plane as the control plane sees it: tables to write, packets to wait for, counters to read.
//!
//! [`kernel::Kernel`] is the real one, [`memory::Memory`] the same tables without a kernel behind them. Who decides what is
//! written is `reconcile`; nobody else holds a `&mut` to either.

mod grace;
pub mod kernel;
pub mod memory;
mod pod;
mod region;
pub mod services;
pub mod tables;

use std::io;

use lb_common::abi::backend::{Backend, BackendId};
use lb_common::abi::counters::{self, Counter};
use lb_common::abi::service::ServiceTable;
use lb_common::abi::slot::Slot;
use lb_common::reason::{DropReason, PassReason};

pub use grace::Grace;
use tables::Tables;

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

    /// Sets the MAC addresses that frames for this node are sent to.
    fn set_macs(&mut self, macs: &[[u8; 6]]) {
        self.tables_mut().set_macs(macs);
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

    /// Packets sent to a backend.
    ///
    /// # Errors
    /// As [`Self::counter`].
    fn forwarded(&self, id: BackendId) -> io::Result<Counter> {
        self.counter(counters::of_backend(id))
    }
}
