//! What becomes of one packet, and why: decided on the host over the live tables, and asked of the loaded program.
//!
//! Nothing here decides anything: `decide` and `commit` run over the tables, what they look at is noted, and the answer tells it in
//! the names of the configuration.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::backend::{BackendId, backend_flags};
use lb_common::abi::counters::{self, Counted};
use lb_common::abi::flow::{FlowEntry, set_of};
use lb_common::decide::{self, Decision, Packet, Part, Task, Work};
use lb_common::frame::Frame;
use lb_common::parse;
use lb_common::reason::{Event, PassReason};
use lb_common::rewrite::decrement;

use super::core::{Core, key};
use super::report;
use crate::api;
use crate::api::types::{
    self, Asked, Confirmation, Confirmed, Explanation, NamedBy, Question, Transport, VERSION,
};
use crate::dataplane::dry_run::{Dry, DryRun, LookedAt, Ran};
use crate::dataplane::host::{self, Fate, Outcome};
use crate::model::{Prefix, Protocol, Service};
use crate::nearest::way_out;
use crate::neighbor::format_mac;
use crate::packet::{Header, Summary, from_hex};
use crate::reconcile::InstalledService;

/// Longest frame that can be asked about, in bytes: a jumbo frame, and what a network card makes of some.
const MAX_FRAME_BYTES: usize = 16 * 1024;
/// Between the host's look and the program's the tables may change. A difference that stays is one.
const TRIES: u32 = 3;

/// Answers a question.
pub(super) fn explain<D: DryRun>(core: &mut Core<D>, question: &Question) -> Result<Explanation, api::Error> {
    let (interface, mac) = ingress(core, question.interface.as_deref())?;
    let frame = frame(&question.packet, mac).map_err(api::Error::Invalid)?;
    let summary = Summary::of(&frame)
        .ok_or_else(|| api::Error::Invalid("frame: is shorter than an Ethernet header".to_owned()))?;
    let mut tries = 0;
    loop {
        tries += 1;
        let dry = Dry::new(&core.dataplane, interface);
        let (work, outcome) = host::run(&dry, &frame);
        let looked_at = dry.looked_at();
        let ran = core.dataplane.dry_run(&frame, interface);
        let (frame, summary, ran_well) = (&frame[..], &summary, ran.as_ref().ok());
        let case = Case { core, interface, frame, summary, work, outcome, looked_at, ran: ran_well };
        let confirmation = match &ran {
            Err(why) => Confirmation { result: Confirmed::NotRun, detail: Some(why.to_string()) },
            Ok(ran) => case.compare(ran),
        };
        if confirmation.result != Confirmed::Different || tries == TRIES {
            return Ok(case.explanation(confirmation));
        }
    }
}

/// The slot of a frame that comes in by an interface.
pub(super) fn slot<D: DryRun>(core: &Core<D>, interface: u32, frame: &[u8]) -> Option<types::SlotHit> {
    let summary = &Summary::of(frame)?;
    let dry = Dry::new(&core.dataplane, interface);
    let (work, outcome) = host::run(&dry, frame);
    let looked_at = dry.looked_at();
    Case { core, interface, frame, summary, work, outcome, looked_at, ran: None }.slot()
}

/// Index and MAC of the interface that the packet comes in by.
fn ingress<D>(core: &Core<D>, name: Option<&str>) -> Result<(u32, [u8; 6]), api::Error> {
    let attached: Vec<&str> = core.config.node.interfaces.iter().map(String::as_str).collect();
    let name = match name {
        None => attached.first().copied().unwrap_or_default(),
        Some(name) if attached.contains(&name) => name,
        Some(name) => {
            let hint = way_out(name, "attached interfaces", &attached);
            let text = format!("interface {}: xlb is not attached there: {hint}", name.escape_debug());
            return Err(api::Error::NotFound(text));
        }
    };
    let known = core.snapshot.interfaces.iter().find(|(_, interface)| interface.name == name);
    known
        .and_then(|(index, interface)| Some((*index, interface.mac?)))
        .ok_or_else(|| api::Error::Conflict(format!("interface {name}: it is gone, or has no MAC address")))
}

/// The frame that is asked about.
fn frame(asked: &Asked, mac: [u8; 6]) -> Result<Vec<u8>, String> {
    match asked {
        Asked::Header(header) => Ok(self::header(header)?.frame(mac)),
        Asked::Frame(hex) => {
            let frame = from_hex(hex).map_err(|why| format!("frame: {why}"))?;
            if frame.len() > MAX_FRAME_BYTES {
                return Err(format!(
                    "frame: has {} bytes: up to {MAX_FRAME_BYTES} can be asked about",
                    frame.len()
                ));
            }
            Ok(frame)
        }
    }
}

fn header(asked: &types::Header) -> Result<Header, String> {
    if asked.syn && asked.protocol != Transport::Tcp {
        return Err("syn: only a tcp packet can have it".to_owned());
    }
    let header = match asked.protocol {
        Transport::Tcp => {
            Header::Tcp { ends: (end("from", &asked.from)?, end("to", &asked.to)?), syn: asked.syn }
        }
        Transport::Udp => Header::Udp { ends: (end("from", &asked.from)?, end("to", &asked.to)?) },
        Transport::Icmp => Header::Echo { ends: (address("from", &asked.from)?, address("to", &asked.to)?) },
    };
    let (from, to) = match &header {
        Header::Tcp { ends: (from, to), .. } | Header::Udp { ends: (from, to) } => (from.ip(), to.ip()),
        Header::Echo { ends } => *ends,
    };
    if from.is_ipv4() != to.is_ipv4() {
        return Err(format!(
            "from {from} and to {to} are of different families: both must be IPv4 or both IPv6"
        ));
    }
    Ok(header)
}

/// An address and a port.
fn end(what: &str, typed: &str) -> Result<SocketAddr, String> {
    if let Ok(end) = typed.parse() {
        return Ok(end);
    }
    let shown = typed.escape_debug();
    Err(match bare(typed) {
        Some(address @ IpAddr::V4(_)) => format!("{what} {shown}: the port is missing: write {address}:PORT"),
        Some(address @ IpAddr::V6(_)) => {
            format!("{what} {shown}: the port is missing: write [{address}]:PORT")
        }
        None => format!("{what} {shown}: is no address with a port, as 192.0.2.10:80 or [2001:db8::10]:80"),
    })
}

/// An address alone.
fn address(what: &str, typed: &str) -> Result<IpAddr, String> {
    let shown = typed.escape_debug();
    bare(typed).ok_or_else(|| match typed.parse::<SocketAddr>() {
        Ok(end) => format!("{what} {shown}: icmp has no ports: write {}", end.ip()),
        Err(_) => format!("{what} {shown}: is no address, as 192.0.2.10 or 2001:db8::10"),
    })
}

/// An address without a port, in brackets or not.
fn bare(typed: &str) -> Option<IpAddr> {
    let inside = typed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6),
        None => typed.parse().ok(),
    }
}

/// One packet, and all that came of looking.
struct Case<'a, D> {
    core: &'a Core<D>,
    interface: u32,
    frame: &'a [u8],
    summary: &'a Summary,
    work: Work,
    outcome: Outcome,
    looked_at: LookedAt,
    ran: Option<&'a Ran>,
}

impl<D: DryRun> Case<'_, D> {
    /// Whether the program has done as the host has decided.
    fn compare(&self, ran: &Ran) -> Confirmation {
        let differs = match &self.work.decision {
            // The kernel's routes, which the program asks, say where a reply goes.
            Decision::Reply(reply) => self.differs_as_reply(ran, &reply.packet),
            Decision::Forward(_) | Decision::Answer(_) | Decision::Pass(_) | Decision::Drop(_) => {
                self.differs(ran)
            }
        };
        match differs {
            None => Confirmation { result: Confirmed::Same, detail: None },
            Some(how) => Confirmation { result: Confirmed::Different, detail: Some(how) },
        }
    }

    fn differs(&self, ran: &Ran) -> Option<String> {
        if ran.counter != self.outcome.counter {
            return Some(format!("it counts the packet as {}", self.counted(ran.counter)));
        }
        let expected = match self.outcome.fate {
            Fate::Drop => 1,
            Fate::Pass => 2,
            Fate::Send(interface) if interface == self.interface => 3,
            Fate::Send(_) => 4,
        };
        if ran.action != expected {
            return Some(format!("its XDP action is {}, not {expected}", ran.action));
        }
        differing_byte(&self.outcome.frame, &ran.frame)
    }

    fn differs_as_reply(&self, ran: &Ran, packet: &Packet) -> Option<String> {
        /// Destination and source MAC, which the route tells.
        const MACS: usize = 12;
        let translated = &self.outcome.frame;
        let mut routed = translated.clone();
        let expected = match counters::counted(ran.counter) {
            Some(Counted::Event(Event::ReplySent)) => {
                let _ = decrement(&mut Frame::from_bytes(&mut routed), packet.l3(), packet.is_v4);
                &routed
            }
            // To the node itself: it stays as it is.
            Some(Counted::Pass(PassReason::NotVip)) => self.frame,
            Some(Counted::Pass(_) | Counted::Drop(_)) => translated,
            Some(Counted::Answer(_) | Counted::Event(_) | Counted::Backend(_)) | None => {
                return Some(format!("it counts the packet as {}", self.counted(ran.counter)));
            }
        };
        differing_byte(expected.get(MACS..)?, ran.frame.get(MACS..)?)
    }

    /// What has become of the packet: of a reply only the program knows the way.
    fn result(&self) -> (u32, &[u8], Option<u32>) {
        match (&self.work.decision, self.ran) {
            (Decision::Reply(_), Some(ran)) => {
                let is_sent = counters::counted(ran.counter) == Some(Counted::Event(Event::ReplySent));
                (ran.counter, &ran.frame, is_sent.then(|| self.interface_of(&ran.frame)).flatten())
            }
            _ => {
                let egress = match self.outcome.fate {
                    Fate::Send(interface) => Some(interface),
                    Fate::Pass | Fate::Drop => None,
                };
                (self.outcome.counter, &self.outcome.frame, egress)
            }
        }
    }

    /// The interface that a frame is sent from.
    fn interface_of(&self, frame: &[u8]) -> Option<u32> {
        let source = Summary::of(frame)?.macs.1;
        let interfaces = &self.core.snapshot.interfaces;
        interfaces.iter().find(|(_, interface)| interface.mac == Some(source)).map(|(index, _)| *index)
    }

    fn explanation(&self, confirmation: Confirmation) -> Explanation {
        let (counter, frame, egress) = self.result();
        let service = self.service();
        Explanation {
            version: VERSION,
            packet: self.packet(),
            service: service.map(service_hit),
            list: service.and_then(|service| self.list(service)),
            slot: self.slot(),
            flow: self.flow(),
            backend: self.backend(),
            rewrite: (frame != self.frame).then(|| self.rewrite(frame)).flatten(),
            egress: egress.map(|interface| self.egress(interface)),
            verdict: verdict(counter),
            confirmation,
        }
    }

    fn packet(&self) -> types::Packet {
        let summary = self.summary;
        let (from, to) = summary.ends().unzip();
        types::Packet {
            interface: self.core.interface_name(self.interface),
            from,
            to,
            flags: summary.flag_names().into_iter().map(str::to_owned).collect(),
            fragment: match summary.fragment {
                parse::Fragment::Whole => None,
                parse::Fragment::First { .. } => Some(types::Fragment::First),
                parse::Fragment::Later { .. } => Some(types::Fragment::Later),
            },
            destination_mac: format_mac(summary.macs.0),
            length_bytes: self.frame.len(),
            protocol: summary.protocol.clone(),
        }
    }

    /// The service that the packet is to: the one whose slot was looked at, or whose backend it has; else by its addresses.
    fn service(&self) -> Option<&Service> {
        let by_slot = self.slot_place().map(|(service, _, _)| service);
        let by_backend = || self.core.owner(self.id()?).map(|(service, _, _)| service);
        by_slot.or_else(by_backend).or_else(|| self.service_by_address())
    }

    fn service_by_address(&self) -> Option<&Service> {
        let ((_, address), (_, port)) = (self.summary.addresses?, self.summary.ports?);
        let protocol = if self.summary.flags.is_some() { Protocol::Tcp } else { Protocol::Udp };
        let services = &self.core.config.services;
        services.iter().find(|one| (one.address, one.port, one.protocol) == (address, port, protocol))
    }

    /// The first slot that was looked at: its service, that as it is installed, and the slot's number.
    fn slot_place(&self) -> Option<(&Service, &InstalledService, u32)> {
        let (index, _) = self.looked_at.slots.first()?;
        self.core.config.services.iter().find_map(|service| {
            let installed = self.core.installed.service(&key(service))?;
            let number = index.checked_sub(installed.slots_base())?;
            (number < report::count(installed.slots_len())).then_some((service, installed, number))
        })
    }

    fn list(&self, service: &Service) -> Option<types::ListHit> {
        let (_, found) = self.looked_at.list?;
        let allowed = match found {
            Some(verdict) => verdict == lb_common::abi::connection::list::ALLOW,
            None => service.allow.is_empty(),
        };
        let (source, _) = self.summary.addresses?;
        let covering = service.allow.iter().chain(&service.deny).filter(|prefix| covers(prefix, source));
        let prefix = covering.max_by_key(|prefix| prefix.length_bits).map(ToString::to_string);
        Some(types::ListHit { allowed, prefix })
    }

    fn slot(&self) -> Option<types::SlotHit> {
        let (_, installed, number) = self.slot_place()?;
        let (_, slot) = self.looked_at.slots.first()?;
        // Where the slot does not name its owner, the table before does.
        let before = self
            .looked_at
            .slots
            .get(1)
            .map(|(_, old)| if old.is_tracked() { old.owner() } else { old.current() });
        let owner = if slot.is_tracked() { slot.owner().or(before.flatten()) } else { None };
        Some(types::SlotHit {
            number,
            of: report::count(installed.slots_len()),
            tracked: slot.is_tracked(),
            current: slot.current().map(|id| self.name(id)),
            owner: owner.map(|id| self.name(id)),
        })
    }

    fn flow(&self) -> Option<types::FlowHit> {
        if !self.looked_at.flows {
            return None;
        }
        let node = self.core.dataplane.node()?;
        let entry = self.remembered();
        let id = entry.and_then(FlowEntry::backend);
        let now = u16::try_from(node.control.tick_seconds & 0xffff).unwrap_or_default();
        Some(types::FlowHit {
            remembered: id.map(|id| self.name(id)),
            idle_seconds: entry.map(|entry| entry.idle_seconds(now)),
            dead: id.is_some_and(|id| node.backends[id.index()].flags & backend_flags::DOWN != 0),
            enters: matches!(&self.work.decision, Decision::Forward(forward) if forward.memory.task == Task::Remember)
                && !self.looked_at.events.contains(&Event::FlowRefused),
        })
    }

    /// The flow table's entry of the packet's flow.
    fn remembered(&self) -> Option<FlowEntry> {
        let Decision::Forward(forward) = &self.work.decision else { return None };
        let hash = forward.packet.flow_hash;
        let set = set_of(hash, self.core.dataplane.node()?.control.flow_set_mask);
        let entries = decide::Tables::flows(&self.core.dataplane, set)?;
        entries.0.into_iter().find(|entry| (entry.0 ^ hash) >> 32 == 0 && entry.backend().is_some())
    }

    /// The backend that it goes to, or comes from.
    fn id(&self) -> Option<BackendId> {
        match &self.work.decision {
            Decision::Forward(forward) => Some(forward.id),
            Decision::Reply(reply) => {
                reply.id.or_else(|| BackendId::new(self.looked_at.connection??.backend))
            }
            Decision::Answer(_) | Decision::Pass(_) | Decision::Drop(_) => None,
        }
    }

    fn named_by(&self, id: BackendId) -> NamedBy {
        let Decision::Forward(forward) = &self.work.decision else { return NamedBy::Reply };
        let slot = self.looked_at.slots.first().map(|(_, slot)| *slot);
        if forward.entries.by_connection_id {
            NamedBy::ConnectionId
        } else if forward.packet.part == Part::LaterFragment {
            NamedBy::Fragment
        } else if self.looked_at.connection.flatten().is_some_and(|known| known.backend == id.get()) {
            NamedBy::Connection
        } else if self.looked_at.flows && self.remembered().and_then(FlowEntry::backend) == Some(id) {
            NamedBy::Flow
        } else if !forward.packet.begins
            && slot.is_some_and(|slot| slot.is_tracked() && slot.current() != Some(id))
        {
            NamedBy::Owner
        } else {
            NamedBy::Current
        }
    }

    fn name(&self, id: BackendId) -> String {
        self.core
            .owner(id)
            .map_or_else(|| format!("backend {}", id.get()), |(_, backend, _)| backend.name.clone())
    }

    fn backend(&self) -> Option<types::BackendHit> {
        let id = self.id()?;
        let (service, backend, leaving) = self.core.owner(id)?;
        let state = self.core.states.get(&service.name).and_then(|states| states.get(&backend.name));
        let state = state.cloned().unwrap_or_default();
        Some(types::BackendHit {
            service: service.name.clone(),
            name: backend.name.clone(),
            address: backend.address.to_string(),
            port: backend.port,
            health: state.health.map_or(types::BackendHealth::Unchecked, types::BackendHealth::from),
            admin: state.admin,
            weight: if leaving { 0 } else { backend.weight },
            leaving,
            by: self.named_by(id),
        })
    }

    fn rewrite(&self, frame: &[u8]) -> Option<types::Rewrite> {
        let summary = Summary::of(frame)?;
        let (from, to) = summary.ends().unzip();
        Some(types::Rewrite {
            source_mac: format_mac(summary.macs.1),
            destination_mac: format_mac(summary.macs.0),
            protocol: summary.protocol,
            from,
            to,
            outer: matches!(&self.work.decision, Decision::Forward(forward) if forward.mode.overhead_bytes() > 0),
        })
    }

    fn egress(&self, interface: u32) -> types::Egress {
        let way = if interface == self.interface { types::Way::Tx } else { types::Way::Redirect };
        types::Egress { interface: self.core.interface_name(interface), way }
    }

    /// What a counter counts, for somebody who did not expect it.
    fn counted(&self, counter: u32) -> String {
        match counters::counted(counter) {
            Some(Counted::Backend(id)) => format!("forwarded to {}", self.name(id)),
            Some(_) => verdict(counter).to_string(),
            None => format!("counter {counter}"),
        }
    }
}

/// Where two frames differ first.
fn differing_byte(host: &[u8], program: &[u8]) -> Option<String> {
    if host.len() != program.len() {
        return Some(format!("its frame has {} bytes, not {}", program.len(), host.len()));
    }
    let at = host.iter().zip(program).position(|(one, other)| one != other)?;
    Some(format!("its frame differs from byte {at} on"))
}

fn service_hit(service: &Service) -> types::ServiceHit {
    types::ServiceHit {
        name: service.name.clone(),
        address: service.address.to_string(),
        port: service.port,
        protocol: service.protocol,
        mode: service.mode,
    }
}

fn covers(prefix: &Prefix, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
        IpAddr::V6(v6) => (v6.to_bits(), false),
    };
    let ((fixed, fixed_v4), (other, other_v4)) = (bits(prefix.address), bits(address));
    let shift = 128 - u32::from(prefix.length_bits);
    fixed_v4 == other_v4 && (fixed ^ other).checked_shr(shift).unwrap_or(0) == 0
}

/// What the counter of a packet says of its fate.
pub(super) fn verdict(counter: u32) -> types::Verdict {
    let of = |fate, reason: Option<&str>| types::Verdict { fate, reason: reason.map(str::to_owned) };
    match counters::counted(counter) {
        Some(Counted::Backend(_)) => of(types::Fate::Forwarded, None),
        Some(Counted::Event(Event::ReplySent)) => of(types::Fate::Replied, None),
        Some(Counted::Event(event)) => of(types::Fate::Passed, Some(event.name())),
        Some(Counted::Pass(reason)) => of(types::Fate::Passed, Some(reason.name())),
        Some(Counted::Drop(reason)) => of(types::Fate::Dropped, Some(reason.name())),
        Some(Counted::Answer(kind)) => of(types::Fate::Answered, Some(kind.name())),
        None => of(types::Fate::Passed, None),
    }
}

#[cfg(test)]
mod tests;
