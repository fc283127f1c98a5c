//! The golden rows, through the program in this kernel.

use anyhow::{Error, Result, ensure};

use super::report::Report;
use crate::packets::decap;
use crate::packets::rows::{Outcome, rows, watched_counters};
use crate::packets::world::World;

pub(super) fn check(report: &mut Report) -> Result<()> {
    let mut world = World::in_kernel()?;
    let watched = watched_counters(&world);
    for row in rows() {
        let expected = row.fate.outcome(&world, &row.frame);
        let got = row.run_in_kernel(&mut world, &watched);
        report.result(&format!("row {}", row.name), as_expected(&expected, got))?;
    }
    let mut receiver = decap::in_kernel()?;
    for row in decap::rows() {
        let got = decap::run_in_kernel(&mut receiver, &row.frame);
        report.result(&format!("row decap {}", row.name), as_expected(&row.outcome, got))?;
    }
    Ok(())
}

fn as_expected(expected: &Outcome, got: Result<Outcome, String>) -> Result<()> {
    let got = got.map_err(Error::msg)?;
    ensure!(got == *expected, "expected {expected}, got {got}");
    Ok(())
}
