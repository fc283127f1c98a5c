//! A capture: begun for a client, read by it again and again, ended when it says so or stays away.

use std::time::Duration;

use bytemuck::Zeroable;
use lb_common::abi::capture::{self as abi, SNAP_BYTES};
use lb_common::abi::control::Capture;
use lb_common::abi::counters::{self, Counted};
use lb_common::abi::features::Features;
use lb_common::reason::{AnswerKind, DropReason, Event, PassReason};
use nix::time::{ClockId, clock_gettime};

use super::core::{Core, key};
use super::explain;
use crate::api;
use crate::api::types::{Captured, Captures, Seen, VERSION, Wanted};
use crate::config;
use crate::dataplane::Dataplane;
use crate::dataplane::captured::Capturing;
use crate::dataplane::dry_run::DryRun;
use crate::desired::wire;
use crate::nearest::way_out;
use crate::packet::hex;

/// A client that has not asked for so long is gone.
const LEASE: Duration = Duration::from_secs(3);
/// Packets of one answer.
const MAX_PACKETS: usize = 1000;

/// A capture that is under way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// What its client wants.
    wanted: Wanted,
    /// What [`Event::CaptureLost`] said when it began.
    lost_before: u64,
    /// When the client has asked last.
    asked_seconds: u64,
}

/// What the program has to be able to do besides for a capture.
pub(super) const fn feature(running: Option<&Running>) -> Features {
    if running.is_some() { Features::CAPTURE } else { Features::NONE }
}

/// Begins a capture.
pub(super) fn begin<D: Capturing>(core: &mut Core<D>, wanted: &Wanted) -> Result<(), api::Error> {
    if core.capture.is_some() {
        return Err(api::Error::Conflict("another capture is running: one can at a time".to_owned()));
    }
    let filter = filter(core, wanted)?;
    core.dataplane.set_capture(&filter);
    let (lost_before, asked_seconds) = (lost(core)?, core.seconds());
    core.capture = Some(Running { wanted: wanted.clone(), lost_before, asked_seconds });
    core.follow_features().map_err(|error| {
        core.capture = None;
        api::Error::Failed(format!("the program that captures does not load: {error}"))
    })?;
    tracing::info!(?wanted, "capture begun");
    Ok(())
}

/// What was captured since the last time.
pub(super) fn read<D: Capturing + DryRun>(core: &mut Core<D>) -> Result<Captures, api::Error> {
    let now = core.seconds();
    let running = core.capture.as_mut().ok_or_else(none)?;
    running.asked_seconds = now;
    let (wanted, lost_before) = (running.wanted.clone(), running.lost_before);
    // A service may have got other slots meanwhile; one that is gone has no packets any more.
    if let Ok(filter) = filter(core, &wanted) {
        core.dataplane.set_capture(&filter);
    }
    let mut packets = Vec::new();
    while packets.len() < MAX_PACKETS
        && let Some(record) = core.dataplane.next_captured()
    {
        packets.push(captured(core, &record));
    }
    Ok(Captures { version: VERSION, packets, lost: lost(core)? - lost_before })
}

/// Ends the capture.
pub(super) fn end<D: Dataplane>(core: &mut Core<D>) -> Result<(), api::Error> {
    core.capture.take().ok_or_else(none)?;
    core.dataplane.set_capture(&Capture::zeroed());
    tracing::info!("capture ended");
    core.follow_features()
        .map_err(|error| api::Error::Failed(format!("the program before the capture does not load: {error}")))
}

/// Ends a capture whose client stays away.
pub(super) fn end_if_forgotten<D: Dataplane>(core: &mut Core<D>) {
    let is_over = |running: &Running| core.seconds().saturating_sub(running.asked_seconds) > LEASE.as_secs();
    if core.capture.as_ref().is_some_and(is_over)
        && let Err(error) = end(core)
    {
        tracing::error!(%error, "the program goes on capturing");
    }
}

fn none() -> api::Error {
    api::Error::Conflict("no capture is running".to_owned())
}

fn lost<D: Dataplane>(core: &Core<D>) -> Result<u64, api::Error> {
    core.dataplane.happened(Event::CaptureLost).map_err(super::report::unreadable)
}

/// What is wanted, as the program is told.
fn filter<D: Dataplane>(core: &Core<D>, wanted: &Wanted) -> Result<Capture, api::Error> {
    let mut filter = Capture::zeroed();
    if let Some(name) = &wanted.service {
        let services = &core.config.services;
        let service = services.iter().find(|service| service.name == *name).ok_or_else(|| {
            api::Error::no_service(name, services.iter().map(|service| service.name.as_str()))
        })?;
        let installed = core.installed.service(&key(service));
        // No packet is to a service that is not installed.
        filter.service = installed.map_or(u32::MAX, |installed| installed.slots_base() + 1);
    }
    if let Some(typed) = &wanted.from {
        let prefix = config::sources("from", typed).map_err(api::Error::Invalid)?;
        filter.source = wire(prefix.address);
        filter.prefix_bits = u32::from(prefix.length_bits);
        filter.family = if prefix.address.is_ipv4() { 4 } else { 6 };
    }
    if let Some(name) = &wanted.reason {
        filter.fate = fate(name)? + 1;
    }
    Ok(filter)
}

/// The counter of a reason.
fn fate(name: &str) -> Result<u32, api::Error> {
    let passed = PassReason::ALL.iter().map(|reason| (reason.name(), counters::of_pass(*reason)));
    let dropped = DropReason::ALL.iter().map(|reason| (reason.name(), counters::of_drop(*reason)));
    let answered = AnswerKind::ALL.iter().map(|kind| (kind.name(), counters::of_answer(*kind)));
    let all: Vec<(&str, u32)> = passed.chain(dropped).chain(answered).collect();
    let found = all.iter().find(|(known, _)| *known == name).map(|(_, counter)| *counter);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let hint = way_out(name, "reasons", &names);
        api::Error::NotFound(format!("reason {}: is not known: {hint}", name.escape_debug()))
    })
}

fn captured<D: DryRun>(core: &Core<D>, record: &abi::Captured) -> Captured {
    let seen = |interface: u32, length_bytes: u32, bytes: &[u8; SNAP_BYTES]| Seen {
        interface: core.interface_name(interface),
        length_bytes,
        frame: hex(&bytes[..kept(length_bytes)]),
    };
    let is_sent = record.after_len > 0;
    Captured {
        at_ns: record.at_ns.saturating_add(since_1970_ns()),
        fate: told(core, record),
        before: seen(record.interface, record.before_len, &record.before),
        after: is_sent.then(|| seen(record.egress, record.after_len, &record.after)),
    }
}

/// How many bytes of a frame were kept.
fn kept(length_bytes: u32) -> usize {
    usize::try_from(length_bytes).unwrap_or(SNAP_BYTES).min(SNAP_BYTES)
}

/// What became of a packet. Its slot is told as it is now.
fn told<D: DryRun>(core: &Core<D>, record: &abi::Captured) -> String {
    let Some(Counted::Backend(id)) = counters::counted(record.fate) else {
        return explain::verdict(record.fate).to_string();
    };
    let mut text = match core.owner(id) {
        Some((service, backend, _)) => {
            format!("forwarded to {}/{} ({})", service.name, backend.name, service.mode)
        }
        None => format!("forwarded to backend {}", id.get()),
    };
    let mut frame = record.before[..kept(record.before_len)].to_vec();
    frame.resize(usize::try_from(record.before_len).unwrap_or(SNAP_BYTES), 0);
    if let Some(slot) = explain::slot(core, record.interface, &frame) {
        text += &format!(", slot {} {}", slot.number, if slot.tracked { "tracked" } else { "settled" });
    }
    text
}

/// What the clock of a record has to get added to say the time.
fn since_1970_ns() -> u64 {
    let now = |clock| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    let between = now(ClockId::CLOCK_REALTIME).saturating_sub(now(ClockId::CLOCK_MONOTONIC));
    u64::try_from(between.as_nanos()).unwrap_or_default()
}
