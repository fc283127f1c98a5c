//! The golden rows, through the program in this kernel.

use anyhow::{Error, Result, ensure};

use super::report::Report;
use crate::packets::rows::{rows, watched_counters};
use crate::packets::world::World;

pub(super) fn check(report: &mut Report) -> Result<()> {
    let mut world = World::in_kernel()?;
    let watched = watched_counters(&world);
    for row in rows() {
        let expected = row.fate.outcome(&world, &row.frame);
        let result = row.run_in_kernel(&mut world, &watched).map_err(Error::msg).and_then(|got| {
            ensure!(got == expected, "expected {expected}, got {got}");
            Ok(())
        });
        report.result(&format!("row {}", row.name), result)?;
    }
    Ok(())
}
