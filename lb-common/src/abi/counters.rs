//! One counter for each fate of a packet (a backend it went to, or why it was passed, dropped or answered), and for each event.
//!
//! The table is per CPU; a figure is the sum over CPUs, made in userspace.

use bytemuck::{Pod, Zeroable};

use super::backend::{BackendId, MAX_BACKENDS};
use crate::reason::{AnswerKind, DropReason, Event, PassReason};

/// What came to one fate. Bytes are those of the frame as it came in, from the Ethernet header on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Counter {
    /// How many packets.
    pub packets: u64,
    /// How many bytes.
    pub bytes: u64,
    /// How many of the packets began a flow, as far as that can be known: a TCP SYN, or a packet of a flow that was not
    /// remembered where all are.
    pub new_flows: u64,
}

const _: () = assert!(size_of::<Counter>() == 24);

/// Entries kept for pass reasons, for drop reasons, for answers and for events.
pub const MAX_REASONS: u32 = 64;
const FIRST_DROP: u32 = MAX_REASONS;
const FIRST_ANSWER: u32 = 2 * MAX_REASONS;
const FIRST_EVENT: u32 = 3 * MAX_REASONS;
const FIRST_BACKEND: u32 = 4 * MAX_REASONS;

/// Entries of the counter table.
pub const MAX_COUNTERS: u32 = FIRST_BACKEND + MAX_BACKENDS;

/// Entry of a pass reason.
#[inline(always)]
#[must_use]
pub const fn of_pass(reason: PassReason) -> u32 {
    reason as u32
}

/// Entry of a drop reason.
#[inline(always)]
#[must_use]
pub const fn of_drop(reason: DropReason) -> u32 {
    FIRST_DROP + reason as u32
}

/// Entry of a kind of answer.
#[inline(always)]
#[must_use]
pub const fn of_answer(kind: AnswerKind) -> u32 {
    FIRST_ANSWER + kind as u32
}

/// Entry of an event.
#[inline(always)]
#[must_use]
pub const fn of_event(event: Event) -> u32 {
    FIRST_EVENT + event as u32
}

/// What an entry of the counter table counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Packets passed for a reason.
    Pass(PassReason),
    /// Packets dropped for a reason.
    Drop(DropReason),
    /// Packets answered at once.
    Answer(AnswerKind),
    /// How often something happened.
    Event(Event),
    /// Packets sent to a backend.
    Backend(BackendId),
}

/// What the entry of an index counts; `None` for one that counts nothing.
#[must_use]
pub fn counted(index: u32) -> Option<Counted> {
    let place = (index % MAX_REASONS) as usize;
    match index / MAX_REASONS {
        0 => PassReason::ALL.get(place).map(|reason| Counted::Pass(*reason)),
        1 => DropReason::ALL.get(place).map(|reason| Counted::Drop(*reason)),
        2 => AnswerKind::ALL.get(place).map(|kind| Counted::Answer(*kind)),
        3 => Event::ALL.get(place).map(|event| Counted::Event(*event)),
        _ => BackendId::new(u16::try_from(index - FIRST_BACKEND).ok()?).map(Counted::Backend),
    }
}

/// Entry of a backend of a service.
#[inline(always)]
#[must_use]
pub const fn of_backend(id: BackendId) -> u32 {
    FIRST_BACKEND + id.get() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_tells_what_it_counts() {
        assert!(PassReason::ALL.iter().all(|r| counted(of_pass(*r)) == Some(Counted::Pass(*r))));
        assert!(DropReason::ALL.iter().all(|r| counted(of_drop(*r)) == Some(Counted::Drop(*r))));
        assert!(AnswerKind::ALL.iter().all(|kind| counted(of_answer(*kind)) == Some(Counted::Answer(*kind))));
        assert!(Event::ALL.iter().all(|event| counted(of_event(*event)) == Some(Counted::Event(*event))));
        for id in [1, 2, 32_767] {
            let id = BackendId::new(id).unwrap();
            assert_eq!(counted(of_backend(id)), Some(Counted::Backend(id)));
        }
        assert_eq!([FIRST_DROP - 1, FIRST_BACKEND, MAX_COUNTERS].map(counted), [None; 3]);
    }

    #[test]
    fn no_two_fates_share_a_counter() {
        let mut seen = std::collections::HashSet::new();
        assert!(PassReason::ALL.iter().all(|r| seen.insert(of_pass(*r))));
        assert!(DropReason::ALL.iter().all(|r| seen.insert(of_drop(*r))));
        assert!(AnswerKind::ALL.iter().all(|kind| seen.insert(of_answer(*kind))));
        assert!(Event::ALL.iter().all(|event| seen.insert(of_event(*event))));
        for id in [1, 2, 32_767] {
            assert!(seen.insert(of_backend(BackendId::new(id).unwrap())));
        }
        assert!(seen.iter().all(|index| *index < MAX_COUNTERS));
    }
}
