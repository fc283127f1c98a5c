//! What does a packet of each bench case cost, in instructions?

use anyhow::Result;

use super::report::Report;
use crate::bench::{self, Effort};

/// Few packets, since the count is exact: a turn ends before the next tick of the clock, whose instructions would be counted
/// too, and the first turn compiles and warms up.
const EFFORT: Effort = Effort { rounds: 5, packets: 256 };

pub(super) fn count(report: &mut Report) -> Result<()> {
    bench::costs(EFFORT, |case, instructions| report.cost(super::super::Cost { case, instructions }))
}
