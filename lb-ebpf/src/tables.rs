//! `lb_common`'s view of the tables, over the maps.

use lb_common::abi::backend::{Backend, BackendId};
use lb_common::abi::control::Control;
use lb_common::abi::service::ServiceTable;
use lb_common::abi::slot::{SLOTS_PER_LINE, Slot};
use lb_common::decide::Tables;

use crate::maps::{BACKENDS, CONTROL, SERVICES, SLOTS};

/// The live tables.
pub struct KernelTables;

impl Tables for KernelTables {
    #[inline(always)]
    fn control(&self) -> Option<&Control> {
        CONTROL.get(0)
    }

    #[inline(always)]
    fn services(&self, half: u32) -> Option<&ServiceTable> {
        let tables = SERVICES.get(0)?;
        // The mask is what the verifier needs to see that the half exists.
        Some(&tables.0[(half & 1) as usize])
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<Slot> {
        let line = SLOTS.get(index / SLOTS_PER_LINE)?;
        Some(line.0[(index % SLOTS_PER_LINE) as usize])
    }

    #[inline(always)]
    fn backend(&self, id: BackendId) -> Option<&Backend> {
        BACKENDS.get(u32::from(id.get()))
    }
}
