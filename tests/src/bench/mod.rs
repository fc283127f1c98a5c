//! Times the data plane per packet, against programs that do as little as can be done.
//!
//! All programs run in turn, round after round, and every figure is the minimum of its rounds: on a shared machine only the
//! minimum repeats. A turn is short enough to fit between two ticks of the scheduler; the frame that it leaves is the next
//! turn's, so that the flows go on where they were. What counts is the difference to the floor of the same run, in
//! nanoseconds.

pub mod cases;
pub mod network;
pub mod report;
pub mod sizes;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lb_userspace::dataplane::kernel::{Kernel, TestRunResult};
use serde::Serialize;

use cases::Case;

use crate::testbed::Testbed;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often each program has its turn.
    pub rounds: u32,
    /// Packets in one turn.
    pub packets: u32,
}

/// What is timed.
enum Program {
    Balancer(Box<Kernel>),
    Floor(Box<Testbed>),
}

impl Program {
    fn test_run(&mut self, frame: &[u8], packets: u32) -> Result<TestRunResult> {
        match self {
            Self::Balancer(kernel) => Ok(kernel.test_run(frame, packets)?),
            Self::Floor(floor) => floor.test_run(frame, packets),
        }
    }
}

/// A program with the frame it is timed with.
struct Subject {
    program: Program,
    frame: Vec<u8>,
    action: u32,
    best: Duration,
}

impl Subject {
    fn new(program: Program, frame: Vec<u8>, action: u32) -> Self {
        Self { program, frame, action, best: Duration::MAX }
    }

    /// One turn. The clock is the kernel's, in whole nanoseconds a packet: a system call's own time holds two RCU grace
    /// periods besides, some milliseconds (`bpf_prog_test_run_xdp`, which enters the program into the XDP dispatcher).
    fn turn(&mut self, packets: u32) -> Result<()> {
        let result = self.program.test_run(&self.frame, packets)?;
        self.best = self.best.min(result.duration);
        self.frame = result.frame;
        if result.action != self.action {
            bail!(
                "the program returned action {}, not {}: the figures would be of something else",
                result.action,
                self.action
            );
        }
        Ok(())
    }

    fn nanoseconds(&self) -> f64 {
        self.best.as_secs_f64() * 1e9
    }
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was sent, and how it is forwarded.
    pub case: &'static str,
    /// How many different flows.
    pub flows: u32,
    /// A packet, in nanoseconds.
    pub ns: f64,
    /// What it is compared with.
    pub floor: &'static str,
    /// A packet of that, in nanoseconds.
    pub floor_ns: f64,
    /// The difference.
    pub over_ns: f64,
    /// Instructions of the programs as they are loaded, all together.
    pub instructions: u32,
}

/// Cases whose floors are counted; those of others undo a word more or less.
const FLOORS: [&str; 4] = ["dsr-v4", "ipip-v4", "ipip-v6", "gue-v4"];

/// Counts what a packet of some floors and of each case costs where the clock counts instructions (QEMU's `-icount shift=0`: one
/// takes one nanosecond), and hands it on. One program at a time, since nothing else disturbs them there.
///
/// # Errors
/// When a program does not load, or does not do what it is timed for, and those of `found`.
pub fn costs(effort: Effort, mut found: impl FnMut(String, u32) -> Result<()>) -> Result<()> {
    network::enter()?;
    // Many flows cost more time, not more instructions.
    let single = |case: &Case| case.flows == 1 || case.is_never_the_same();
    for case in Case::all().into_iter().filter(single) {
        let mut cost = |name: String, subject: Result<Subject>| {
            let mut subject = subject.with_context(|| name.clone())?;
            for _ in 0..effort.rounds {
                subject.turn(effort.packets).with_context(|| name.clone())?;
            }
            found(name, u32::try_from(subject.best.as_nanos())?)
        };
        if FLOORS.contains(&case.name) {
            cost(format!("floor of {}", case.name), case.floor_subject())?;
        }
        cost(case.name.to_owned(), case.subject())?;
    }
    Ok(())
}

/// Times all cases.
///
/// # Errors
/// When a program does not load, or does not do what it is timed for.
pub fn run(effort: Effort) -> Result<Vec<Row>> {
    network::enter()?;
    let load = |case: Case| {
        let floor = case.floor_subject().with_context(|| format!("the floor of {}", case.name))?;
        let subject = case.subject().with_context(|| case.name)?;
        Ok((case, floor, subject))
    };
    let mut cases = Case::all().into_iter().map(load).collect::<Result<Vec<_>>>()?;
    for _ in 0..effort.rounds {
        for (case, floor, subject) in &mut cases {
            floor.turn(effort.packets).with_context(|| format!("the floor of {}", case.name))?;
            subject.turn(effort.packets).with_context(|| case.name)?;
        }
    }
    cases.into_iter().map(|(case, floor, subject)| row(case, &floor, subject)).collect()
}

fn row(case: Case, floor: &Subject, subject: Subject) -> Result<Row> {
    let (ns, floor_ns) = (subject.nanoseconds(), floor.nanoseconds());
    let instructions = match subject.program {
        Program::Balancer(mut kernel) => kernel.sizes()?.iter().map(|size| size.translated).sum(),
        Program::Floor(_) => 0,
    };
    Ok(Row {
        case: case.name,
        flows: case.flows,
        ns: ns.round(),
        floor: case.floor.name(),
        floor_ns: floor_ns.round(),
        over_ns: (ns - floor_ns).round(),
        instructions,
    })
}
