//! What each case may cost: recorded in the repository, so that a change of it is a commit.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Cost;

/// How much more than its budget a case may cost, in percent: what another build of the same kernel series moves.
const TOLERANCE_PERCENT: u64 = 3;

/// The recorded costs.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Release of the kernel they were counted on.
    pub kernel: String,
    /// Instructions a packet, by name of the case.
    pub instructions: BTreeMap<String, u32>,
}

/// How a cost compares with the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Within the tolerance.
    Kept,
    /// Below it: the budget may be lowered.
    Lower,
    /// Above it.
    Exceeded,
    /// The case has no budget.
    Unknown,
}

const HEADER: &str = "\
# Instructions a packet, counted in a guest by `cargo xtask bench --instructions`, the kernel's test loop included.
# `cargo xtask test` fails when a case costs more than 3 % above. After a change that is worth it, or to lower what has
# become cheaper, `cargo xtask bench --instructions --record` rewrites this file.

";

impl Budget {
    /// What was counted on a kernel.
    #[must_use]
    pub fn of(kernel: &str, costs: &[Cost]) -> Self {
        let instructions = costs.iter().map(|cost| (cost.case.clone(), cost.instructions)).collect();
        Self { kernel: kernel.to_owned(), instructions }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or is not one.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| {
            format!("cannot read {}: `cargo xtask bench --instructions --record` makes it", file.display())
        })?;
        toml::from_str(&text).with_context(|| format!("{} is no budget", file.display()))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = HEADER.to_owned() + &toml::to_string(self)?;
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Compares a cost with what is recorded.
    #[must_use]
    pub fn compare(&self, cost: &Cost) -> Comparison {
        let Some(budget) = self.instructions.get(&cost.case).copied().map(u64::from) else {
            return Comparison::Unknown;
        };
        let cost = u64::from(cost.instructions);
        if cost * 100 > budget * (100 + TOLERANCE_PERCENT) {
            Comparison::Exceeded
        } else if cost * (100 + TOLERANCE_PERCENT) < budget * 100 {
            Comparison::Lower
        } else {
            Comparison::Kept
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(case: &str, instructions: u32) -> Cost {
        Cost { case: case.to_owned(), instructions }
    }

    #[test]
    fn three_percent_more_is_kept_and_one_instruction_above_is_not() {
        let budget = Budget::of("6.12", &[cost("dsr-v4", 300)]);
        let expected = [
            (291, Comparison::Lower),
            (292, Comparison::Kept),
            (300, Comparison::Kept),
            (309, Comparison::Kept),
            (310, Comparison::Exceeded),
        ];
        for (instructions, comparison) in expected {
            assert_eq!(budget.compare(&cost("dsr-v4", instructions)), comparison, "{instructions}");
        }
        assert_eq!(budget.compare(&cost("gue-v4", 1)), Comparison::Unknown);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("budgets/instructions.toml");
        let budget = Budget::of("6.12.1", &[cost("dsr-v4", 300), cost("dsr-v4, 1048576 flows", 320)]);
        budget.write(&file).unwrap();
        assert_eq!(Budget::read(&file).unwrap(), budget);
    }
}
