//! Other kernels, and instructions that can be counted: guests in QEMU, emulated (TCG), without hardware virtualisation.
//!
//! The host side packs an initramfs (`initramfs`), boots a kernel with it (`machine`) and judges what comes back (`matrix`,
//! `gate`, `budget`). Inside, the program `xlb-guest` is process 1 (`inside`): it does one [`Job`] and answers with a [`Line`]
//! for each thing it has found, as JSON on the second serial port; kernel messages and panics go to the first. Where kernels
//! come from is xtask's business.
//!
//! The guest runs this build's own dynamically linked binaries with the host's libraries: nothing is compiled twice, and what
//! is tested is what was built.

pub mod budget;
pub mod gate;
mod initramfs;
pub mod inside;
mod machine;
pub mod matrix;
pub mod paths;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{initramfs::Contents, machine::Kernel};

/// What a guest is booted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Job {
    /// Load and attach every program, run the golden rows, forward requests in a lab.
    Matrix,
    /// Start `xlb run` where it is to say that the kernel is too old.
    TooOld,
    /// Count the instructions of the bench's cases.
    Instructions,
    /// Count those of a packet's whole way, through xlb and through the kernel's own balancers.
    Paths,
}

impl Job {
    /// Whether its clock has to count instructions.
    pub(crate) const fn counts_instructions(self) -> bool {
        match self {
            Self::Matrix | Self::TooOld => false,
            Self::Instructions | Self::Paths => true,
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Matrix => "matrix",
            Self::TooOld => "too-old",
            Self::Instructions => "instructions",
            Self::Paths => "paths",
        })
    }
}

/// One thing that a guest has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// A program was loaded and attached.
    Program(Program),
    /// Something was tried, and came out as it has to.
    Passed {
        /// What was tried.
        name: String,
    },
    /// Something was tried, and did not.
    Failed {
        /// What was tried.
        name: String,
        /// What came of it.
        why: String,
    },
    /// A packet of a bench case, or on its whole way.
    Cost(Cost),
    /// The job is complete. A guest that does not say so has died on the way.
    Done,
}

/// How the verifier saw a program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    /// Object and program.
    pub name: String,
    /// Instructions that the verifier walked through.
    pub verified: u32,
    /// Instructions of the program that it left.
    pub translated: u32,
    /// Kinds of interface that it was attached to natively; none for one that is reached by tail calls.
    pub attached: Vec<String>,
}

/// What a packet costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Name of the case.
    pub case: String,
    /// Instructions of the processor, those of the kernel's test loop included.
    pub instructions: u32,
}
