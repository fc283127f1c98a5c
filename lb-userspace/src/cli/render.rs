//! Answers as tables and pages for people: one function an answer. Programs ask for JSON and get it as it came.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::args::Output;
use super::units::{bytes, count, percent, seconds};
use crate::api::types::{Action, Backend, Backends, Reason, Service, Services, Status};

/// A column: its heading, whether its numbers stand on the right, whether only the wide table has it.
struct Column<T> {
    heading: &'static str,
    kind: Kind,
    width: Width,
    cell: fn(&T) -> String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Number,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Always,
    Wide,
}

use Kind::{Number, Word};
use Width::{Always, Wide};

const SERVICES: [Column<Service>; 12] = [
    Column { heading: "NAME", kind: Word, width: Always, cell: |s| s.name.clone() },
    Column { heading: "ADDRESS", kind: Word, width: Always, cell: |s| s.address.clone() },
    Column { heading: "PORT", kind: Number, width: Always, cell: |s| s.port.to_string() },
    Column { heading: "PROTOCOL", kind: Word, width: Always, cell: |s| s.protocol.to_string() },
    Column { heading: "MODE", kind: Word, width: Always, cell: |s| s.mode.to_string() },
    Column {
        heading: "SERVING",
        kind: Number,
        width: Always,
        cell: |s| format!("{}/{}", s.backends_serving, s.backends),
    },
    Column { heading: "TRACKING", kind: Word, width: Wide, cell: |s| s.tracking.to_string() },
    Column { heading: "SLOTS", kind: Number, width: Wide, cell: |s| s.slots.to_string() },
    Column { heading: "TRACKED", kind: Number, width: Wide, cell: |s| s.slots_tracked.to_string() },
    Column { heading: "FLOWS", kind: Number, width: Wide, cell: |s| count(s.flows) },
    Column { heading: "PACKETS", kind: Number, width: Always, cell: |s| count(s.packets) },
    Column { heading: "BYTES", kind: Number, width: Always, cell: |s| bytes(s.bytes) },
];

const BACKENDS: [Column<Backend>; 16] = [
    Column { heading: "BACKEND", kind: Word, width: Always, cell: |b| format!("{}/{}", b.service, b.name) },
    Column { heading: "ADDRESS", kind: Word, width: Always, cell: |b| b.address.clone() },
    Column { heading: "PORT", kind: Number, width: Wide, cell: |b| b.port.to_string() },
    Column { heading: "WEIGHT", kind: Number, width: Always, cell: |b| b.weight.to_string() },
    Column { heading: "HEALTH", kind: Word, width: Always, cell: |b| b.health.to_string() },
    Column { heading: "ADMIN", kind: Word, width: Always, cell: |b| b.admin.to_string() },
    Column { heading: "SERVING", kind: Word, width: Always, cell: |b| yes_no(b.serving) },
    Column { heading: "SHARE", kind: Number, width: Always, cell: |b| percent(b.share) },
    Column { heading: "SLOTS", kind: Number, width: Wide, cell: |b| b.slots.to_string() },
    Column { heading: "FLOWS", kind: Number, width: Wide, cell: |b| count(b.flows) },
    Column { heading: "NEW FLOWS", kind: Number, width: Wide, cell: |b| count(b.new_flows) },
    Column { heading: "PACKETS", kind: Number, width: Always, cell: |b| count(b.packets) },
    Column { heading: "BYTES", kind: Number, width: Always, cell: |b| bytes(b.bytes) },
    Column { heading: "NEIGHBOR", kind: Word, width: Wide, cell: |b| b.neighbor.to_string() },
    Column {
        heading: "NEXT HOP",
        kind: Word,
        width: Wide,
        cell: |b| b.next_hop.clone().unwrap_or_else(|| "-".to_owned()),
    },
    Column { heading: "DETAIL", kind: Word, width: Always, cell: |b| b.detail.clone() },
];

const REASONS: [Column<Reason>; 4] = [
    Column { heading: "FATE", kind: Word, width: Always, cell: |r| r.action.to_string() },
    Column { heading: "REASON", kind: Word, width: Always, cell: |r| r.reason.clone() },
    Column { heading: "PACKETS", kind: Number, width: Always, cell: |r| count(r.packets) },
    Column { heading: "BYTES", kind: Number, width: Always, cell: |r| bytes(r.bytes) },
];

pub(super) fn services(answer: &Services, output: Output) -> anyhow::Result<String> {
    output.format.render(answer, |wide| table(&SERVICES, &answer.services, wide))
}

pub(super) fn backends(answer: &Backends, output: Output) -> anyhow::Result<String> {
    output.format.render(answer, |wide| table(&BACKENDS, &answer.backends, wide))
}

pub(super) fn status(answer: &Status, output: Output) -> anyhow::Result<String> {
    output.format.render(answer, |wide| status_page(answer, wide))
}

/// The wide page also has the reasons that nothing met.
fn status_page(status: &Status, wide: bool) -> String {
    let mut lines = vec![
        ("node", status.node.clone()),
        (
            "daemon",
            format!("xlb {}, pid {}, up {}", status.xlb_version, status.pid, seconds(status.uptime_seconds)),
        ),
    ];
    lines.extend(
        status
            .interfaces
            .iter()
            .map(|i| ("interface", format!("{} (index {}, {}) {}", i.name, i.index, i.mac, i.xdp))),
    );
    if status.interfaces.is_empty() {
        lines.push(("interface", "none".to_owned()));
    }
    lines.push(("services", status.services.to_string()));
    lines.push(("backends", format!("{}, {} serving", status.backends, status.backends_serving)));
    lines.push(("slots", format!("{} of {}", status.slots_used, status.slots_max)));
    let memory = &status.memory;
    lines.push(("flows", format!("{} remembered of {}", memory.flows, memory.flows_max)));
    if memory.connections_inserted > 0 {
        lines.push(("nat", format!("{} connections of {}", memory.connections, memory.connections_max)));
    }
    lines.extend(status.alarms.iter().map(|alarm| ("ALARM", alarm.clone())));
    let page: String = lines.iter().map(|(label, text)| format!("{label:<11}{text}\n")).collect();
    let mut reasons: Vec<&Reason> =
        status.reasons.iter().filter(|reason| wide || reason.packets > 0).collect();
    // Drops first: they are what somebody who looks here has lost.
    reasons.sort_by_key(|reason| (reason.action == Action::Pass, std::cmp::Reverse(reason.packets)));
    let reasons: Vec<Reason> = reasons.into_iter().cloned().collect();
    if reasons.is_empty() {
        return page + "\nno packet passed or dropped yet\n";
    }
    page + "\n" + &table(&REASONS, &reasons, wide)
}

fn yes_no(truth: bool) -> String {
    if truth { "yes" } else { "no" }.to_owned()
}

fn table<T>(columns: &[Column<T>], rows: &[T], wide: bool) -> String {
    let columns: Vec<&Column<T>> = columns.iter().filter(|column| wide || column.width == Always).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.heading));
    table
        .add_rows(rows.iter().map(|row| columns.iter().map(|column| (column.cell)(row)).collect::<Vec<_>>()));
    for (n, column) in columns.iter().enumerate() {
        if let Some(drawn) = table.column_mut(n) {
            drawn.set_padding((0, if n + 1 == columns.len() { 0 } else { 3 }));
            if column.kind == Number {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
