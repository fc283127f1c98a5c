//! What would become of a packet, while nothing becomes of it.
//!
//! [`Dry`] is a data plane as `decide` and `commit` see it on the host: every look is at the live tables, and no write does
//! anything. [`DryRun::dry_run`] asks the loaded program the same.

use std::cell::RefCell;
use std::io;

use lb_common::abi::backend::BackendId;
use lb_common::abi::connection::{Connection, LimitKey, ListKey, ServerKey, Tuple};
use lb_common::abi::features::Features;
use lb_common::abi::flow::{FlowEntry, FlowSet};
use lb_common::abi::node::Node;
use lb_common::abi::slot::Slot;
use lb_common::commit::{Entered, State};
use lb_common::decide;
use lb_common::reason::Event;

use super::Dataplane;

/// A data plane that can be asked about a packet.
pub trait DryRun: Dataplane + decide::Tables {
    /// When a source has earned back what it has used, in microseconds since the machine was started.
    fn earned_back_us(&self, key: &LimitKey) -> Option<u64>;

    /// Lets the loaded program decide about a frame that comes in by an interface. Nothing is counted, remembered or sent.
    ///
    /// # Errors
    /// When there is no program, or the kernel does not run it.
    fn dry_run(&mut self, frame: &[u8], interface: u32) -> io::Result<Ran>;
}

/// What the loaded program has done with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// An XDP action: 1 drop, 2 pass, 3 send back, 4 redirect.
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Index of the counter that it would have been counted in.
    pub counter: u32,
}

/// What was looked at on the way to a decision.
#[derive(Clone, Debug, Default)]
pub struct LookedAt {
    /// Slots by their index in the whole array, each once; behind the first one that of the table before.
    pub slots: Vec<(u32, Slot)>,
    /// Whether the flow table was.
    pub flows: bool,
    /// A service's list, and what it says of the source.
    pub list: Option<(ListKey, Option<u32>)>,
    /// What is known of the packet's connection in mode `fullnat`.
    pub connection: Option<Option<Connection>>,
    /// What would have happened to the tables.
    pub events: Vec<Event>,
}

/// A data plane during a dry run of a frame that comes in by an interface.
pub struct Dry<'d, D> {
    dataplane: &'d D,
    interface: u32,
    looked_at: RefCell<LookedAt>,
}

impl<'d, D> Dry<'d, D> {
    /// Nothing looked at yet.
    pub fn new(dataplane: &'d D, interface: u32) -> Self {
        Self { dataplane, interface, looked_at: RefCell::default() }
    }

    /// What was looked at.
    pub fn looked_at(self) -> LookedAt {
        self.looked_at.into_inner()
    }
}

impl<D: DryRun> decide::Tables for Dry<'_, D> {
    fn features(&self) -> Features {
        self.dataplane.features()
    }

    fn node(&self) -> Option<&Node> {
        self.dataplane.node()
    }

    fn slot(&self, index: u32) -> Option<Slot> {
        let slot = self.dataplane.slot(index)?;
        let slots = &mut self.looked_at.borrow_mut().slots;
        if slots.iter().all(|(seen, _)| *seen != index) {
            slots.push((index, slot));
        }
        Some(slot)
    }

    fn flows(&self, set: u32) -> Option<&FlowSet> {
        self.looked_at.borrow_mut().flows = true;
        self.dataplane.flows(set)
    }

    fn fragments(&self, set: u32) -> Option<&FlowSet> {
        self.dataplane.fragments(set)
    }

    fn listed(&self, key: &ListKey) -> Option<u32> {
        let found = self.dataplane.listed(key);
        self.looked_at.borrow_mut().list = Some((*key, found));
        found
    }

    fn server(&self, key: &ServerKey) -> Option<BackendId> {
        self.dataplane.server(key)
    }

    fn connection(&self, key: &Tuple) -> Option<Connection> {
        let found = self.dataplane.connection(key);
        self.looked_at.borrow_mut().connection = Some(found);
        found
    }

    fn opaque(&self, number: usize) -> usize {
        number
    }

    fn now_us(&self) -> u64 {
        self.dataplane.now_us()
    }

    fn ingress(&self) -> u32 {
        self.interface
    }
}

/// Every write succeeds as far as a look can tell, and does nothing: as in a program with [`Features::DRY_RUN`].
impl<D: DryRun> State for Dry<'_, D> {
    fn swap_flow(&self, _set: u32, _way: u32, _old: FlowEntry, _new: FlowEntry) -> bool {
        true
    }

    fn swap_fragment(&self, _set: u32, _way: u32, _old: FlowEntry, _new: FlowEntry) -> bool {
        true
    }

    fn earned_us(&self, key: &LimitKey) -> Option<u64> {
        self.dataplane.earned_back_us(key)
    }

    fn set_earned_us(&self, _key: &LimitKey, _at_us: u64) {}

    fn enter(&self, key: &Tuple, _connection: &Connection) -> Entered {
        if self.dataplane.connection(key).is_some() { Entered::Taken } else { Entered::Yes }
    }

    fn renew(&self, _key: &Tuple, _last_seen: u32, _seen: u8) {}

    fn leave(&self, _key: &Tuple) {}

    fn count_event(&self, event: Event) {
        self.looked_at.borrow_mut().events.push(event);
    }
}
