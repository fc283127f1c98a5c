//! Times the data plane per packet, against programs that do as little as can be done.
//!
//! All programs run in turn, round after round, and every figure is the minimum of its rounds: on a shared machine only the
//! minimum repeats. A turn is short enough to fit between two ticks of the scheduler; the frame that it leaves is the next
//! turn's, so that the flows go on where they were. What counts is the difference to the floor of the same run, in
//! nanoseconds.

pub mod cases;
pub mod report;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lb_userspace::dataplane::kernel::Kernel;
use serde::Serialize;

use cases::{Case, Floor};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often each program has its turn.
    pub rounds: u32,
    /// Packets in one turn.
    pub packets: u32,
}

/// A program with the frame it is timed with.
struct Subject {
    kernel: Kernel,
    frame: Vec<u8>,
    action: u32,
    best: Duration,
}

impl Subject {
    fn new(kernel: Kernel, frame: Vec<u8>, action: u32) -> Self {
        Self { kernel, frame, action, best: Duration::MAX }
    }

    /// One turn. The clock is the kernel's, in whole nanoseconds a packet: a system call's own time holds two RCU grace
    /// periods besides, some milliseconds (`bpf_prog_test_run_xdp`, which enters the program into the XDP dispatcher).
    fn turn(&mut self, packets: u32) -> Result<()> {
        let result = self.kernel.test_run(&self.frame, packets)?;
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
    /// Instructions of the loaded program.
    pub instructions: u32,
}

/// Counts what a packet of each floor and of each case costs where the clock counts instructions (QEMU's `-icount shift=0`: one
/// takes one nanosecond), and hands it on. One program at a time, since nothing else disturbs them there.
///
/// # Errors
/// When a program does not load, or does not do what it is timed for, and those of `found`.
pub fn costs(effort: Effort, mut found: impl FnMut(String, u32) -> Result<()>) -> Result<()> {
    let mut cost = |name: String, mut subject: Subject| {
        for _ in 0..effort.rounds {
            subject.turn(effort.packets).with_context(|| name.clone())?;
        }
        found(name, u32::try_from(subject.best.as_nanos())?)
    };
    for floor in Floor::ALL {
        cost(format!("floor {floor:?}"), floor.subject()?)?;
    }
    for case in Case::all() {
        let name = match case.flows {
            1 => case.name.to_owned(),
            flows => format!("{}, {flows} flows", case.name),
        };
        cost(name, case.subject()?)?;
    }
    Ok(())
}

/// Times all cases.
///
/// # Errors
/// When a program does not load, or does not do what it is timed for.
pub fn run(effort: Effort) -> Result<Vec<Row>> {
    let mut floors = Floor::ALL
        .iter()
        .map(|floor| Ok((*floor, floor.subject()?)))
        .collect::<Result<Vec<(Floor, Subject)>>>()?;
    let mut cases = Case::all()
        .into_iter()
        .map(|case| {
            let subject = case.subject()?;
            Ok((case, subject))
        })
        .collect::<Result<Vec<_>>>()?;
    for _ in 0..effort.rounds {
        for (_, subject) in &mut floors {
            subject.turn(effort.packets)?;
        }
        for (_, subject) in &mut cases {
            subject.turn(effort.packets)?;
        }
    }
    let floor_ns = |floor: Floor| {
        floors.iter().find(|(one, _)| *one == floor).map_or(0.0, |(_, subject)| subject.nanoseconds())
    };
    cases
        .into_iter()
        .map(|(case, mut subject)| {
            let ns = subject.nanoseconds();
            let floor_ns = floor_ns(case.floor);
            Ok(Row {
                case: case.name,
                flows: case.flows,
                ns: ns.round(),
                floor: case.floor.name(),
                floor_ns: floor_ns.round(),
                over_ns: (ns - floor_ns).round(),
                instructions: subject.kernel.size()?.0,
            })
        })
        .collect()
}
