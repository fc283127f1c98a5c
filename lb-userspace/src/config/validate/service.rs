//! `[[service]]`: what was typed against the rules, and against its own mode, protocol and tracking.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use lb_common::rewrite::gue;

use super::super::problem::Place;
use super::super::raw::{self, Field};
use super::super::rules::{self, ModeKey};
use super::backends::Behind;
use super::{Judge, Owner, line, take};
use crate::model::{Mode, OnDown, Prefix, Protocol, Service, Tracking};

const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

impl Judge<'_> {
    pub(super) fn service(&mut self, raw: &raw::Service) -> Option<Service> {
        let label = raw.label.as_str();
        let name = self.required(label, raw.place, "name", &raw.name, |typed| rules::name(typed));
        let address = self.required(label, raw.place, "address", &raw.address, |typed| rules::address(typed));
        let port = self.required(label, raw.place, "port", &raw.port, |typed| rules::port("port", *typed));
        let protocol =
            self.required(label, raw.place, "protocol", &raw.protocol, |typed| rules::protocol(typed));
        let mode = self.required(label, raw.place, "mode", &raw.mode, |typed| rules::mode(typed));
        let slots = self.optional(label, &raw.slots, None, |typed| rules::slots(*typed).map(Some));
        let prefix = |typed: &String| rules::prefix("encap_source", typed).map(Some);
        let encap_source = self.optional(label, &raw.encap_source, None, prefix);
        let gue_port =
            self.optional(label, &raw.gue_port, gue::DEFAULT_PORT, |typed| rules::port("gue_port", *typed));
        let tracking = self
            .optional(label, &raw.tracking, protocol.map(default_tracking), |typed| {
                rules::tracking(typed).map(Some)
            })
            .flatten();
        let idle_timeout =
            self.optional(label, &raw.idle_timeout, DEFAULT_IDLE_TIMEOUT, |typed| rules::idle_timeout(typed));
        let on_down = self.optional(label, &raw.on_down, OnDown::Reset, |typed| rules::on_down(typed));
        let quic = self.optional(label, &raw.quic, false, |typed| Ok(*typed));
        if let (Some(address), Some(port), Some(protocol)) = (address, port, protocol) {
            self.sole_listener(raw, address, port, protocol);
        }
        if let Some(mode) = mode {
            self.keys_have_meaning(raw, mode);
        }
        if let (Some(typed), Some(true), Some(protocol), Some(tracking)) =
            (raw.quic.given(), quic, protocol, tracking)
        {
            self.checked(label, typed, |_| rules::quic_fits(protocol, tracking));
        }
        let source_addresses = self.source_addresses(raw, mode, address);
        let (allow, deny) = self.access(raw, address).unzip();
        let rate_limit = self.rate_limit(raw, protocol, tracking);
        let check = self.check(label, &raw.check);
        let backends = self.backends(raw, &Behind { mode, vip: address, port, protocol, quic });
        if let (Some(true), Some(Some(source))) = (mode.map(Mode::encapsulates), encap_source) {
            self.encap_source_fits(raw, source);
        }
        if let (Some(typed), Some(Some(slots)), Some(backends)) = (raw.slots.given(), slots, &backends) {
            let weighted = backends.iter().filter(|backend| backend.weight > 0).count();
            self.checked(label, typed, |_| rules::slots_for(slots, weighted));
        }
        Some(Service {
            name: name?,
            address: address?,
            port: port?,
            protocol: protocol?,
            mode: mode?,
            slots: slots?,
            encap_source: encap_source?,
            gue_port: gue_port?,
            source_addresses: source_addresses?,
            tracking: tracking?,
            idle_timeout: idle_timeout?,
            on_down: on_down?,
            allow: allow?,
            deny: deny?,
            rate_limit: rate_limit?,
            quic: quic?,
            check: check?,
            backends: backends?,
        })
    }

    fn sole_listener(&mut self, raw: &raw::Service, address: IpAddr, port: u16, protocol: Protocol) {
        let Some(place) = raw.address.given().map(|typed| typed.place) else { return };
        let owner = Owner { name: raw.label.clone(), place };
        if let Err(other) = take(&mut self.listeners, (address, port, protocol), owner) {
            let text = format!(
                "{}: address {address}, port {port}, {protocol} is already used by {}{}: change one of the three",
                raw.label,
                other.name,
                line(other.place)
            );
            self.add(place, &text);
        }
    }

    /// No key waits for a mode that the service does not have.
    fn keys_have_meaning(&mut self, raw: &raw::Service, mode: Mode) {
        let keys = [
            (ModeKey::EncapSource, raw.encap_source.given().map(|typed| typed.place)),
            (ModeKey::GuePort, raw.gue_port.given().map(|typed| typed.place)),
            (ModeKey::SourceAddresses, raw.source_addresses.given().map(|typed| typed.place)),
        ];
        for (key, place) in keys {
            if let (Some(place), Err(why)) = (place, rules::has_meaning(key, mode)) {
                self.add(place, &format!("{}: {why}", raw.label));
            }
        }
    }

    /// The outer header has one family: that of the first backend, and so of all.
    fn encap_source_fits(&mut self, raw: &raw::Service, source: Prefix) {
        let server = |backend: &raw::Backend| {
            let typed = backend.address.given()?;
            Some((backend.called().to_owned(), rules::address(&typed.value).ok()?, typed.place))
        };
        let first = raw.backends.iter().find_map(server);
        if let (Some(typed), Some((name, address, place))) = (raw.encap_source.given(), first) {
            self.checked(&raw.label, typed, |_| rules::encap_family(source, (&name, address), &line(place)));
        }
    }

    /// The addresses that stand in for the clients', in mode fullnat.
    fn source_addresses(
        &mut self,
        raw: &raw::Service,
        mode: Option<Mode>,
        vip: Option<IpAddr>,
    ) -> Option<Vec<IpAddr>> {
        let label = format!("{}: source_addresses", raw.label);
        let way_out = "name at least one address of this node, such as source_addresses = [\"10.0.0.100\"]";
        let list = match &raw.source_addresses {
            Field::Given(list) if mode == Some(Mode::Fullnat) => list,
            Field::Absent if mode == Some(Mode::Fullnat) => {
                self.add(raw.place, &format!("{label} is missing: {way_out}"));
                return None;
            }
            Field::Mistyped => return None,
            Field::Given(_) | Field::Absent => return Some(Vec::new()),
        };
        if list.value.is_empty() {
            self.add(list.place, &format!("{label} is empty: {way_out}"));
        }
        let (count, most) = (list.value.len(), rules::MAX_SOURCE_ADDRESSES);
        if count > most {
            let text =
                format!("{label}: {count} addresses are more than the {most} that one service can have");
            self.add(list.place, &text);
        }
        let mut named = HashMap::new();
        let mut addresses = Vec::new();
        for typed in &list.value {
            let Some(address) = self.checked(&label, typed, |typed| rules::address(typed)) else { continue };
            if let Err(why) = self.source_address(address, vip, named.get(&address).copied()) {
                self.add(typed.place, &format!("{label}: {why}"));
            }
            named.entry(address).or_insert(typed.place);
            addresses.push(address);
        }
        Some(addresses)
    }

    fn source_address(
        &self,
        address: IpAddr,
        vip: Option<IpAddr>,
        named: Option<Place>,
    ) -> Result<(), String> {
        if let Some(first) = named {
            return Err(format!("address {address} is already named{}: remove one", line(first)));
        }
        if let Some(vip) = vip {
            rules::source_family(vip, address)?;
        }
        if let Some(owner) = self.vips.get(&address) {
            return Err(rules::source_of(address, &format!("service {}{}", owner.name, line(owner.place))));
        }
        if let Some(owner) = self.servers.get(&address) {
            return Err(rules::source_of(address, &format!("{}{}", owner.name, line(owner.place))));
        }
        Ok(())
    }
}

/// A TCP flow begins with a SYN, so that most need not be remembered; a UDP flow begins with nothing.
const fn default_tracking(protocol: Protocol) -> Tracking {
    match protocol {
        Protocol::Tcp => Tracking::Adaptive,
        Protocol::Udp => Tracking::Full,
    }
}
