//! The result as a table for people and as JSON for programs.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::Row;
use super::cases::MANY_FLOWS;
use super::sizes::Configuration;

/// Everything one run has found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Processor and kernel.
    pub machine: String,
    /// A line for each case and number of flows.
    pub rows: Vec<Row>,
    /// How large the programs are, by what a configuration uses.
    pub configurations: Vec<Configuration>,
    /// Until a 65,537-slot table for 1,000 backends is computed and live, in milliseconds.
    pub table_ms: f64,
}

/// What a case must not exceed, in nanoseconds above its floor, for one flow.
const TARGETS: [(&str, f64); 10] = [
    ("not-ours", 8.0),
    ("not-ours-of-all", 8.0),
    ("dsr-v4", 20.0),
    ("dsr-v6", 20.0),
    ("ipip-v4", 16.0),
    ("ipip-v6", 16.0),
    ("gue-v4", 16.0),
    ("gue-v6", 16.0),
    ("nat-v4", 35.0),
    ("nat-reply-v4", 35.0),
];
/// Cases in which flows are remembered, and the same without.
const TRACKED: [(&str, &str); 3] =
    [("dsr-v4-tracked", "dsr-v4"), ("ipip-v4-tracked", "ipip-v4"), ("udp-v4-full", "dsr-v4")];
/// What remembering may cost for one flow and for many, in nanoseconds.
const TRACKING_NS: [f64; 2] = [15.0, 180.0];
/// What remembering a new flow may cost of what a known one costs, and which case is which.
const NEW_FLOW: (&str, &str, f64) = ("syn-v4-tracked", "dsr-v4-tracked", 2.0);
/// What many flows may cost of what one flow costs.
const MANY_FLOWS_FACTOR: f64 = 1.25;
const TABLE_MS: f64 = 20.0;

impl Report {
    /// A report of this machine.
    #[must_use]
    pub fn new(rows: Vec<Row>, configurations: Vec<Configuration>, table_time: Duration) -> Self {
        Self { machine: machine(), rows, configurations, table_ms: table_time.as_secs_f64() * 1e3 }
    }

    /// The table, with what was aimed at beside what was seen.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}\n\n", self.machine);
        let _ = writeln!(
            text,
            "{:<15} {:>9} {:>8}   {:<7} {:>8} {:>8} {:>13}   aim",
            "CASE", "FLOWS", "NS", "FLOOR", "NS", "OVER", "INSTRUCTIONS"
        );
        for row in &self.rows {
            let _ = writeln!(
                text,
                "{:<15} {:>9} {:>8.0}   {:<7} {:>8.0} {:>8.0} {:>13}   {}",
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
        let _ = writeln!(
            text,
            "\n{:<24} {:>12} {:>12} {:>10} {:>8}",
            "CONFIGURATION", "FIRST", "OTHERS", "VERIFIED", "LOAD MS"
        );
        for Configuration { name, first, others, verified, load_ms } in &self.configurations {
            let _ = writeln!(text, "{name:<24} {first:>12} {others:>12} {verified:>10} {load_ms:>8.0}");
        }
        let verdict = verdict(self.table_ms <= TABLE_MS);
        let _ = writeln!(
            text,
            "\n65,537 slots for 1,000 backends computed and live in {:.1} ms (at most {TABLE_MS} ms: {verdict})",
            self.table_ms
        );
        text
    }

    fn row(&self, case: &str, flows: u32) -> Option<&Row> {
        self.rows.iter().find(|row| row.case == case && row.flows == flows)
    }

    fn aim(&self, row: &Row) -> String {
        let is_many = row.flows == MANY_FLOWS;
        let (new, known, factor) = NEW_FLOW;
        if row.case == new {
            let of = self.row(known, row.flows).map_or(f64::NAN, |known| row.ns / known.ns);
            return format!("{of:.2} x a known flow (at most {factor}: {})", verdict(of <= factor));
        }
        if let Some((_, without)) = TRACKED.iter().find(|(case, _)| *case == row.case) {
            let more = self.row(without, row.flows).map_or(f64::NAN, |without| row.over_ns - without.over_ns);
            let most = TRACKING_NS[usize::from(is_many)];
            return format!("{more:.0} more than settled (at most {most}: {})", verdict(more <= most));
        }
        if is_many {
            // The floor of many flows tells what stepping from flow to flow costs by itself.
            let one = self.row(row.case, 1);
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
