//! What becomes of a slot: transitions without I/O and without a clock.
//!
//! ```text
//!                change to d                     learned                    nobody left
//!   settled c ---------------> tracked d, owner c -------> tracked d, owner d ----------> settled d
//!                                  |      ^                    |
//!                                  +------+                    | change to e
//!                          change to e: owner c stays          +---> tracked e, owner d
//! ```
//!
//! *Learned*: for the service's idle timeout the slot was tracked, so every flow that is still alive has sent a packet and is
//! remembered; whoever is not remembered now is as good as new. *Nobody left*: no remembered flow of the slot goes elsewhere
//! than to `current`. A backend that dies takes its flows with it, so it is nobody's owner; the flows of a slot without an
//! owner are those of the service's table before this one.

use lb_common::abi::backend::BackendId;
use lb_common::abi::slot::Slot;

/// A slot, and since when its unknown flows are being learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) slot: Slot,
    /// Second at which the slot got its owner; means nothing in a settled slot.
    pub(super) since: u64,
    /// Whether unknown flows are those of the table before, which had another size: the slot has no owner of its own then.
    follows_old_table: bool,
}

impl State {
    /// A slot that nobody has used yet.
    pub(super) fn new(current: Option<BackendId>) -> Self {
        Self { slot: settled(current), since: 0, follows_old_table: false }
    }

    /// A slot of a table of another size than the one before, whose flows it takes over.
    pub(super) fn after_old_table(current: Option<BackendId>, now: u64) -> Self {
        Self { slot: Slot::tracked(current, None), since: now, follows_old_table: true }
    }

    /// The same slot without a backend that is dead or gone: its flows count as unknown, and are `current`'s.
    #[must_use]
    pub(super) fn without(self, is_dead: impl Fn(BackendId) -> bool) -> Self {
        match (self.slot.is_tracked(), self.slot.owner()) {
            (true, Some(owner)) if is_dead(owner) => {
                Self { slot: learned(self.slot.current().filter(|id| !is_dead(*id))), ..self }
            }
            (true | false, _) => self,
        }
    }

    /// The same slot once `current` is another one. `adaptive` says whether flows are tracked through changes, `is_dead` whose
    /// flows are gone.
    #[must_use]
    pub(super) fn change(
        self,
        to: Option<BackendId>,
        adaptive: bool,
        is_dead: impl Fn(BackendId) -> bool,
        now: u64,
    ) -> Self {
        let (slot, current) = (self.slot, self.slot.current());
        let new = |slot| Self { slot, since: now, follows_old_table: false };
        if !adaptive {
            return new(settled(to));
        }
        if !slot.is_tracked() {
            return match current {
                Some(id) if Some(id) != to && !is_dead(id) => new(Slot::tracked(to, Some(id))),
                Some(_) | None => new(settled(to)),
            };
        }
        match slot.owner() {
            // The owner's flows are gone. Those of `current` were remembered.
            Some(owner) if is_dead(owner) => new(learned(to)),
            None if !self.follows_old_table => new(learned(to)),
            owner => {
                // Where the owner was `current` itself, as it can be for some flows of an older table, nothing was remembered:
                // learning begins now.
                let begins = owner.is_none() || owner == current;
                let since = if begins && to != current { now } else { self.since };
                Self { slot: Slot::tracked(to, owner), since, ..self }
            }
        }
    }

    /// The same slot at `now`: learned when it has been tracked for more than `idle_seconds`, and for as long nobody was refused
    /// (`refused`, a second); settled when no remembered flow goes elsewhere (`busy`).
    #[must_use]
    pub(super) fn settle(self, idle_seconds: u64, refused: u64, busy: bool, now: u64) -> Self {
        let (slot, current) = (self.slot, self.slot.current());
        if !slot.is_tracked() {
            return self;
        }
        let nothing_to_learn = current.is_some() && slot.owner() == current;
        let learned = nothing_to_learn || now.saturating_sub(self.since.max(refused)) > idle_seconds;
        match current {
            _ if !learned => self,
            None if busy => self,
            Some(id) if busy => {
                Self { slot: Slot::tracked(Some(id), Some(id)), follows_old_table: false, ..self }
            }
            _ => Self { slot: settled(current), follows_old_table: false, ..self },
        }
    }

    /// The same slot after a backend has got another id.
    #[must_use]
    pub(super) fn renumber(self, from: BackendId, to: BackendId) -> Self {
        let new = |id: Option<BackendId>| if id == Some(from) { Some(to) } else { id };
        let slot = if self.slot.is_tracked() {
            Slot::tracked(new(self.slot.current()), new(self.slot.owner()))
        } else {
            settled(new(self.slot.current()))
        };
        Self { slot, ..self }
    }

    /// Whether unknown flows are those of the table before.
    pub(super) const fn follows_old_table(self) -> bool {
        self.follows_old_table
    }

    /// Whether a packet could be sent to `id` because of this slot.
    pub(super) fn names(self, id: BackendId) -> bool {
        self.slot.current() == Some(id) || self.slot.owner() == Some(id)
    }
}

/// A slot without unknown flows: nothing is left to learn, and who is remembered elsewhere still has to go.
fn learned(current: Option<BackendId>) -> Slot {
    Slot::tracked(current, current)
}

fn settled(current: Option<BackendId>) -> Slot {
    current.map_or(Slot::EMPTY, Slot::settled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> Option<BackendId> {
        BackendId::new(number)
    }

    fn nobody(_: BackendId) -> bool {
        false
    }

    #[test]
    fn a_change_is_learned_and_settles() {
        let slot = State::new(id(1)).change(id(2), true, nobody, 100);
        assert_eq!(slot.slot, Slot::tracked(id(2), id(1)));
        assert_eq!(slot.settle(60, 0, false, 160), slot, "the last second of the timeout counts");
        assert_eq!(slot.settle(60, 101, true, 161), slot, "somebody was refused");
        let learned = slot.settle(60, 0, true, 161);
        assert_eq!(learned.slot, Slot::tracked(id(2), id(2)));
        assert_eq!(learned.settle(60, 0, true, 162), learned, "somebody is still elsewhere");
        assert_eq!(learned.settle(60, 0, false, 162).slot, Slot::settled(id(2).unwrap()));
    }

    #[test]
    fn a_second_change_keeps_owner_and_clock() {
        let slot = State::new(id(1)).change(id(2), true, nobody, 100).change(id(3), true, nobody, 130);
        assert_eq!((slot.slot, slot.since), (Slot::tracked(id(3), id(1)), 100));
        let back = slot.change(id(1), true, nobody, 140);
        assert_eq!(back.slot, Slot::tracked(id(1), id(1)));
    }

    #[test]
    fn a_change_after_learning_begins_anew() {
        let learned = State::new(id(1)).change(id(2), true, nobody, 100).settle(10, 0, true, 120);
        let again = learned.change(id(3), true, nobody, 130);
        assert_eq!((again.slot, again.since), (Slot::tracked(id(3), id(2)), 130));
    }

    #[test]
    fn the_dead_own_nothing() {
        let dead = |id: BackendId| id.get() == 1;
        assert_eq!(State::new(id(1)).change(id(2), true, dead, 5).slot, Slot::settled(id(2).unwrap()));
        let tracked = State::new(id(1)).change(id(2), true, nobody, 5);
        assert_eq!(tracked.change(id(3), true, dead, 6).slot, Slot::tracked(id(3), id(3)));
        assert_eq!(tracked.without(dead).slot, Slot::tracked(id(2), id(2)));
        // Flows that are remembered elsewhere are still looked up.
        let nobody_left = tracked.change(None, true, dead, 6);
        assert_eq!(nobody_left.slot, Slot::tracked(None, None));
        assert_eq!(nobody_left.change(id(3), true, nobody, 7).slot, Slot::tracked(id(3), id(3)));
        assert_eq!(nobody_left.settle(10, 0, false, 17).slot, Slot::EMPTY);
    }

    #[test]
    fn another_table_is_followed_until_everybody_has_been_seen_since_the_last_change() {
        let slot = State::after_old_table(id(1), 100);
        assert!(slot.follows_old_table());
        let changed = slot.change(id(2), true, nobody, 130);
        assert_eq!((changed.slot, changed.since), (Slot::tracked(id(2), None), 130));
        assert_eq!(
            changed.settle(60, 0, false, 161),
            changed,
            "flows begun at the first one may still be unknown"
        );
        let settled = changed.settle(60, 0, false, 191);
        assert_eq!((settled.slot, settled.follows_old_table()), (Slot::settled(id(2).unwrap()), false));
    }

    #[test]
    fn the_last_backend_serves_its_flows_to_the_end() {
        let slot = State::new(id(1)).change(None, true, nobody, 100);
        assert_eq!(slot.slot, Slot::tracked(None, id(1)));
        assert_eq!(slot.settle(10, 0, true, 200), slot);
        assert_eq!(slot.settle(10, 0, false, 200).slot, Slot::EMPTY);
    }

    #[test]
    fn without_tracking_there_is_no_owner() {
        assert_eq!(State::new(id(1)).change(id(2), false, nobody, 100).slot, Slot::settled(id(2).unwrap()));
    }
}
