//! When does a backend turn up or down? The rise and fall rule as a state machine without I/O or clock: outcomes of
//! probes come in, transitions come out.
//!
//! ```text
//!                 success                failure x fall
//!    Unknown ----------------> Up --------------------------> Down
//!       |                      ^                              | ^
//!       |                      +----- success x rise ---------+ |
//!       +--------------------------- failure -------------------+
//! ```
//!
//! The first probe decides at once, so that a daemon that starts neither holds back good backends for `rise` intervals
//! nor sends traffic to dead ones for `fall`. "x n" is in a row: one outcome of the other kind starts the count again.

use serde::{Deserialize, Serialize};

/// What is known of a backend's fitness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No probe has ended yet.
    Unknown,
    /// Fit for traffic.
    Up,
    /// Not fit for traffic.
    Down,
}

/// How one probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend answered as the check wants.
    Success,
    /// It did not.
    Failure,
}

/// A change of health; `from` and `to` differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Health before the probe.
    pub from: Health,
    /// Health since the probe.
    pub to: Health,
}

/// The health of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    rise: u32,
    fall: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unknown,
    /// `failures` in a row, fewer than `fall`.
    Up {
        failures: u32,
    },
    /// `successes` in a row, fewer than `rise`.
    Down {
        successes: u32,
    },
}

impl Machine {
    /// A backend of which nothing is known; `rise` and `fall` of 0 count as 1.
    pub fn new(rise: u32, fall: u32) -> Self {
        Self { rise: rise.max(1), fall: fall.max(1), state: State::Unknown }
    }

    /// The health now.
    pub fn health(&self) -> Health {
        match self.state {
            State::Unknown => Health::Unknown,
            State::Up { .. } => Health::Up,
            State::Down { .. } => Health::Down,
        }
    }

    /// Takes the outcome of one probe.
    #[must_use]
    pub fn observe(&mut self, outcome: Outcome) -> Option<Transition> {
        let from = self.health();
        self.state = match (self.state, outcome) {
            (State::Unknown, Outcome::Success) => State::Up { failures: 0 },
            (State::Unknown, Outcome::Failure) => State::Down { successes: 0 },
            (State::Up { .. }, Outcome::Success) => State::Up { failures: 0 },
            (State::Up { failures }, Outcome::Failure) if failures + 1 < self.fall => {
                State::Up { failures: failures + 1 }
            }
            (State::Up { .. }, Outcome::Failure) => State::Down { successes: 0 },
            (State::Down { .. }, Outcome::Failure) => State::Down { successes: 0 },
            (State::Down { successes }, Outcome::Success) if successes + 1 < self.rise => {
                State::Down { successes: successes + 1 }
            }
            (State::Down { .. }, Outcome::Success) => State::Up { failures: 0 },
        };
        let to = self.health();
        (from != to).then_some(Transition { from, to })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Health, Machine, Outcome, Transition};

    /// Feeds `+` and `-`; the answer has `U`, `D` for a transition and `.` for none.
    fn run(rise: u32, fall: u32, outcomes: &str) -> String {
        let mut machine = Machine::new(rise, fall);
        let step = |outcome| {
            let outcome = if outcome == '+' { Outcome::Success } else { Outcome::Failure };
            let before = machine.health();
            match machine.observe(outcome) {
                None => '.',
                Some(Transition { from, to }) => {
                    assert_eq!((from, to), (before, machine.health()));
                    match to {
                        Health::Up => 'U',
                        Health::Down => 'D',
                        Health::Unknown => panic!("nothing leads back to unknown"),
                    }
                }
            }
        };
        outcomes.chars().map(step).collect()
    }

    #[test]
    fn every_way_through_the_machine() {
        let table = [
            ("the first success is up at once", 3, 3, "+", "U"),
            ("the first failure is down at once", 3, 3, "-", "D"),
            ("up stays up", 2, 3, "+++", "U.."),
            ("down stays down", 2, 3, "---", "D.."),
            ("fall failures in a row bring it down", 2, 3, "+---", "U..D"),
            ("a success starts the failures again", 2, 3, "+--+--", "U....."),
            ("and then all of fall are needed", 2, 3, "+--+---", "U.....D"),
            ("rise successes in a row bring it up", 2, 3, "-++", "D.U"),
            ("a failure starts the successes again", 3, 3, "-++-++", "D....."),
            ("and then all of rise are needed", 3, 3, "-++-+++", "D.....U"),
            ("fall 1 falls at once", 2, 1, "+-", "UD"),
            ("rise 1 rises at once", 1, 3, "-+", "DU"),
            ("zero counts as one", 0, 0, "-+-", "DUD"),
            ("counts do not leak through a round trip", 2, 2, "+-+-+--++--", "U.....D.U.D"),
        ];
        for (name, rise, fall, outcomes, expected) in table {
            assert_eq!(run(rise, fall, outcomes), expected, "{name}");
        }
    }

    /// Health by looking back over the whole history instead of counting.
    fn model(rise: usize, fall: usize, history: &[bool]) -> Health {
        let mut health = Health::Unknown;
        let mut since = 0;
        for end in 1..=history.len() {
            let last =
                |n: usize, kind: bool| end - since >= n && history[end - n..end].iter().all(|&b| b == kind);
            let next = match health {
                Health::Unknown => {
                    if history[end - 1] {
                        Health::Up
                    } else {
                        Health::Down
                    }
                }
                Health::Up => {
                    if last(fall, false) {
                        Health::Down
                    } else {
                        Health::Up
                    }
                }
                Health::Down => {
                    if last(rise, true) {
                        Health::Up
                    } else {
                        Health::Down
                    }
                }
            };
            if next != health {
                (health, since) = (next, end);
            }
        }
        health
    }

    proptest! {
        #[test]
        fn counting_equals_looking_back(
            rise in 1_usize..5, fall in 1_usize..5, history in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            let mut machine = Machine::new(u32::try_from(rise).unwrap(), u32::try_from(fall).unwrap());
            for end in 0..history.len() {
                let outcome = if history[end] { Outcome::Success } else { Outcome::Failure };
                let before = machine.health();
                let transition = machine.observe(outcome);
                let expected = model(rise, fall, &history[..=end]);
                prop_assert_eq!(machine.health(), expected);
                prop_assert_eq!(transition.map(|t| (t.from, t.to)), (before != expected).then_some((before, expected)));
            }
        }
    }
}
