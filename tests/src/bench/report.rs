//! The result as a table for people and as JSON for programs.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::Row;
use super::cases::MANY_FLOWS;

/// Everything one run has found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Processor and kernel.
    pub machine: String,
    /// A line for each case and number of flows.
    pub rows: Vec<Row>,
    /// Until a 65,537-slot table for 1,000 backends is computed and live, in milliseconds.
    pub table_ms: f64,
}

/// What a case must not exceed, in nanoseconds above its floor, for one flow.
const TARGETS: [(&str, f64); 3] = [("not-ours", 8.0), ("dsr-v4", 20.0), ("ipip-v4", 16.0)];
/// What many flows may cost of what one flow costs.
const MANY_FLOWS_FACTOR: f64 = 1.25;
const TABLE_MS: f64 = 20.0;

impl Report {
    /// A report of this machine.
    #[must_use]
    pub fn new(rows: Vec<Row>, table_time: Duration) -> Self {
        Self { machine: machine(), rows, table_ms: table_time.as_secs_f64() * 1e3 }
    }

    /// The table, with what was aimed at beside what was seen.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}\n\n", self.machine);
        let _ = writeln!(
            text,
            "{:<10} {:>9} {:>8}   {:<7} {:>8} {:>8} {:>13}   aim",
            "CASE", "FLOWS", "NS", "FLOOR", "NS", "OVER", "INSTRUCTIONS"
        );
        for row in &self.rows {
            let _ = writeln!(
                text,
                "{:<10} {:>9} {:>8.0}   {:<7} {:>8.0} {:>8.0} {:>13}   {}",
                row.case,
                row.flows,
                row.ns,
                row.floor,
                row.floor_ns,
                row.over_ns,
                row.instructions,
                self.aim(row)
            );
        }
        let verdict = verdict(self.table_ms <= TABLE_MS);
        let _ = writeln!(
            text,
            "\n65,537 slots for 1,000 backends computed and live in {:.1} ms (at most {TABLE_MS} ms: {verdict})",
            self.table_ms
        );
        text
    }

    fn aim(&self, row: &Row) -> String {
        if row.flows == MANY_FLOWS {
            let one = self.rows.iter().find(|other| other.case == row.case && other.flows == 1);
            // Where the floor of many flows is another one, it tells what stepping from flow to flow costs by itself.
            let factor = one.map_or(f64::NAN, |one| (one.floor_ns + row.over_ns) / one.ns);
            return format!(
                "{factor:.2} x one flow (at most {MANY_FLOWS_FACTOR}: {})",
                verdict(factor <= MANY_FLOWS_FACTOR)
            );
        }
        match TARGETS.iter().find(|(case, _)| *case == row.case) {
            Some((_, most)) => format!("at most {most} over: {}", verdict(row.over_ns <= *most)),
            None => String::new(),
        }
    }
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1)).unwrap_or("unknown");
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cpus} CPUs, Linux {}", model.trim(), read("/proc/sys/kernel/osrelease").trim())
}
