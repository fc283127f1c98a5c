//! `xlb explain`: what was typed becomes a question, and the answer a page.

use std::io::{self, Write as _};

use super::args::Explain;
use crate::api::types::{
    Asked, BackendHit, Confirmation, Confirmed, Explanation, FlowHit, Fragment, Header, ListHit, NamedBy,
    Packet, Question, Rewrite, SlotHit, Way,
};
use crate::packet::hex;
use crate::pcap;

/// What to ask the daemon.
///
/// # Errors
/// The file has no such packet.
pub(super) fn question(typed: Explain) -> anyhow::Result<Question> {
    let packet = match (typed.pcap, typed.from, typed.to) {
        (Some(file), _, _) => {
            let recorded = pcap::packet(&file, typed.number.unwrap_or_default())?;
            if recorded.captured_bytes < recorded.frame.len() {
                // Whether it can be told or not.
                let _ = writeln!(
                    io::stderr(),
                    "xlb: {} of the frame's {} bytes were captured: the rest is taken as zeros",
                    recorded.captured_bytes,
                    recorded.frame.len()
                );
            }
            Asked::Frame(hex(&recorded.frame))
        }
        (None, from, to) => Asked::Header(Header {
            from: from.unwrap_or_default(),
            to: to.unwrap_or_default(),
            protocol: typed.protocol,
            syn: typed.syn,
        }),
    };
    Ok(Question { interface: typed.interface, packet })
}

/// The chain, a line for each link of it.
pub(crate) fn page(answer: &Explanation) -> String {
    let mut lines = vec![("packet", packet(&answer.packet))];
    if let Some(service) = &answer.service {
        let address = end(&service.address, service.port);
        lines.push((
            "service",
            format!("{} ({} {address}, {})", service.name, service.protocol, service.mode),
        ));
        match &answer.list {
            Some(list) => lines.push(("list", self::list(list))),
            None if answer.slot.is_some() => lines.push(("list", "no list".to_owned())),
            // It was dropped before anybody looked.
            None => {}
        }
    }
    if let Some(slot) = &answer.slot {
        lines.push(("slot", self::slot(slot, answer.flow.as_ref())));
    }
    if let Some(backend) = &answer.backend {
        lines.push(("backend", self::backend(backend)));
    }
    if let Some(rewrite) = &answer.rewrite {
        lines.push(("rewrite", self::rewrite(rewrite, &answer.packet)));
    }
    if let Some(egress) = &answer.egress {
        let way = match egress.way {
            Way::Tx => "XDP_TX",
            Way::Redirect => "XDP_REDIRECT",
        };
        lines.push(("egress", format!("{} ({way})", egress.interface)));
    }
    lines.push(("verdict", answer.verdict.to_string()));
    lines.push(("confirmed", confirmation(&answer.confirmation)));
    lines.iter().map(|(label, text)| format!("{label:<11}{text}\n")).collect()
}

/// Address and port, as both are typed.
fn end(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn packet(packet: &Packet) -> String {
    let mut text = packet.protocol.clone();
    if let (Some(from), Some(to)) = (&packet.from, &packet.to) {
        text += &format!(" {from} -> {to}");
    }
    if !packet.flags.is_empty() {
        text += &format!(", {}", packet.flags.join("+"));
    }
    match packet.fragment {
        Some(Fragment::First) => text += ", first fragment",
        Some(Fragment::Later) => text += ", later fragment",
        None => {}
    }
    text + &format!(
        ", {} bytes to {}, in by {}",
        packet.length_bytes, packet.destination_mac, packet.interface
    )
}

fn list(list: &ListHit) -> String {
    match (list.allowed, &list.prefix) {
        (true, Some(prefix)) => format!("allowed by {prefix}"),
        (true, None) => "allowed: no prefix covers it, and nobody is kept out for that".to_owned(),
        (false, Some(prefix)) => format!("denied by {prefix}"),
        (false, None) => "denied: no prefix allows it".to_owned(),
    }
}

fn slot(slot: &SlotHit, flow: Option<&FlowHit>) -> String {
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".to_owned());
    let mut text = format!("{} of {}: ", slot.number, slot.of);
    text += &if slot.tracked {
        format!("tracked, current {}, owner {}", name(&slot.current), name(&slot.owner))
    } else {
        format!("settled, current {}", name(&slot.current))
    };
    let Some(flow) = flow else { return text };
    text += &match (&flow.remembered, flow.dead) {
        (Some(backend), false) => {
            format!("; flow remembered: {backend}, seen {} s ago", flow.idle_seconds.unwrap_or_default())
        }
        (Some(backend), true) => format!("; flow remembered: {backend}, which is dead"),
        (None, _) => "; flow not remembered".to_owned(),
    };
    text + if flow.enters { ", would be from now on" } else { "" }
}

fn backend(backend: &BackendHit) -> String {
    let by = match backend.by {
        NamedBy::Current => "by its slot",
        NamedBy::Owner => "as the slot's owner",
        NamedBy::Flow => "by its flow",
        NamedBy::Fragment => "after the first fragment",
        NamedBy::Connection => "by its connection",
        NamedBy::ConnectionId => "by its QUIC connection ID",
        NamedBy::Reply => "it is its reply",
    };
    let leaving = if backend.leaving { ", deleted" } else { "" };
    format!(
        "{}/{} {}, {}, {}, weight {}{leaving} ({by})",
        backend.service, backend.name, backend.address, backend.health, backend.admin, backend.weight
    )
}

fn rewrite(rewrite: &Rewrite, packet: &Packet) -> String {
    let mut text = format!("MAC {} -> {}", rewrite.source_mac, rewrite.destination_mac);
    let (Some(from), Some(to)) = (&rewrite.from, &rewrite.to) else { return text };
    if rewrite.outer {
        text += &format!(", outer {} {from} -> {to}", rewrite.protocol);
    } else if (&rewrite.from, &rewrite.to) != (&packet.from, &packet.to) {
        text += &format!(", {from} -> {to}");
    }
    text
}

fn confirmation(confirmation: &Confirmation) -> String {
    let detail = confirmation.detail.as_deref().unwrap_or_default();
    match confirmation.result {
        Confirmed::Same => "the loaded program does the same, byte for byte".to_owned(),
        Confirmed::Different => format!("NO: THE LOADED PROGRAM DOES OTHERWISE: {detail}"),
        Confirmed::NotRun => format!("not: the loaded program could not be run: {detail}"),
    }
}
