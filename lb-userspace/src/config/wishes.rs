//! What a service wants besides backends: which flows are remembered, who is let in, what a mode needs to be told.
//!
//! The other half of `validate`, with its judge.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use lb_common::rewrite::gue;

use super::problem::Place;
use super::raw::{self, At, Field};
use super::rules;
use super::validate::{Judge, line};
use crate::model::{Backend, Mode, OnDown, Prefix, Protocol, RateLimit, Service, Tracking};

const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Source addresses that one service may have: each is good for tens of thousands of connections to each backend.
const MAX_SOURCE_ADDRESSES: usize = 64;

impl Judge<'_> {
    /// A service with nothing but its wishes, for `validate` to fill in the rest.
    pub(super) fn wishes(
        &mut self,
        raw: &raw::Service,
        mode: Option<Mode>,
        protocol: Option<Protocol>,
        vip: Option<IpAddr>,
    ) -> Option<Service> {
        let label = raw.label.as_str();
        let tracking = self.tracking(label, raw, protocol);
        let idle_timeout = self
            .optional(label, &raw.idle_timeout, DEFAULT_IDLE_TIMEOUT, |typed| rules::idle_timeout(typed));
        let on_down = self.optional(label, &raw.on_down, OnDown::Reset, |typed| rules::on_down(typed));
        let mut seen = HashMap::new();
        let allow = self.prefixes(label, "allow", &raw.allow, vip, &mut seen);
        let deny = self.prefixes(label, "deny", &raw.deny, vip, &mut seen);
        let rate_limit = self.rate_limit(label, raw, protocol, tracking);
        let quic = self.quic(label, raw, protocol, tracking);
        let gue_port =
            self.optional(label, &raw.gue_port, gue::DEFAULT_PORT, |typed| rules::port(*typed));
        if let (Some(typed), Some(mode)) = (raw.gue_port.given(), mode.filter(|mode| *mode != Mode::Gue)) {
            self.meaningless(label, "gue_port", mode, typed.place);
        }
        let source_addresses = self.source_addresses(raw, mode, vip);
        Some(Service {
            name: String::new(),
            address: vip?,
            port: 0,
            protocol: protocol?,
            mode: mode?,
            slots: None,
            encap_source: None,
            check: None,
            backends: Vec::new(),
            tracking: tracking?,
            idle_timeout: idle_timeout?,
            on_down: on_down?,
            allow: allow?,
            deny: deny?,
            rate_limit: rate_limit?,
            quic: quic?,
            gue_port: gue_port?,
            source_addresses: source_addresses?,
        })
    }

    pub(super) fn meaningless(&mut self, label: &str, key: &str, mode: Mode, place: Place) {
        self.add(place, &format!("{label}: {key} has no meaning in mode {mode}: remove it"));
    }

    fn tracking(&mut self, label: &str, raw: &raw::Service, protocol: Option<Protocol>) -> Option<Tracking> {
        // A flow of UDP has no beginning that a packet tells.
        let default = match protocol {
            Some(Protocol::Udp) => Tracking::Full,
            Some(Protocol::Tcp) | None => Tracking::Adaptive,
        };
        self.optional(label, &raw.tracking, default, |typed| rules::tracking(typed))
    }

    fn prefixes(
        &mut self,
        label: &str,
        key: &str,
        field: &Field<Vec<At<String>>>,
        vip: Option<IpAddr>,
        seen: &mut HashMap<Prefix, Place>,
    ) -> Option<Vec<Prefix>> {
        let list = match field {
            Field::Given(list) => list,
            Field::Mistyped => return None,
            Field::Absent => return Some(Vec::new()),
        };
        if list.value.is_empty() {
            self.add(list.place, &format!("{label}: {key} is empty: name a prefix, or remove it"));
            return None;
        }
        let mut prefixes = Vec::new();
        for typed in &list.value {
            let prefix = self.checked(label, typed, |text| rules::any_prefix(key, text))?;
            if let Some(vip) = vip.filter(|vip| vip.is_ipv4() != prefix.address.is_ipv4()) {
                let text = format!("{label}: {key} {prefix} is not of the family of {vip}: remove it");
                self.add(typed.place, &text);
            }
            if let Some(first) = seen.insert(prefix, typed.place) {
                let text = format!("{label}: {key} {prefix} is already named {}: remove one", line(first));
                self.add(typed.place, &text);
            }
            prefixes.push(prefix);
        }
        Some(prefixes)
    }

    fn rate_limit(
        &mut self,
        label: &str,
        raw: &raw::Service,
        protocol: Option<Protocol>,
        tracking: Option<Tracking>,
    ) -> Option<Option<RateLimit>> {
        let limit = self.optional(label, &raw.rate_limit, None, |typed| rules::rate_limit(typed).map(Some))?;
        let burst = self.optional(label, &raw.rate_burst, None, |typed| {
            rules::number("rate_burst", *typed, 1..=1_000_000).map(Some)
        })?;
        if let (Some(typed), None) = (raw.rate_burst.given(), limit) {
            self.add(typed.place, &format!("{label}: rate_burst is only for rate_limit: add that, or remove it"));
        }
        if let (Some(typed), Some(Protocol::Udp), Some(Tracking::Adaptive | Tracking::Off)) =
            (raw.rate_limit.given(), protocol, tracking)
        {
            let text = format!(
                "{label}: rate_limit needs to know which flows are new, which for udp takes tracking \"full\": change tracking, \
                 or remove it"
            );
            self.add(typed.place, &text);
        }
        Some(limit.map(|limit| RateLimit { burst: burst.unwrap_or(limit.burst), ..limit }))
    }

    fn quic(
        &mut self,
        label: &str,
        raw: &raw::Service,
        protocol: Option<Protocol>,
        tracking: Option<Tracking>,
    ) -> Option<bool> {
        let quic = self.optional(label, &raw.quic, false, |typed| Ok(*typed))?;
        let typed = raw.quic.given().filter(|_| quic);
        if let (Some(typed), Some(Protocol::Tcp)) = (typed, protocol) {
            self.add(typed.place, &format!("{label}: quic is only for protocol \"udp\": remove it"));
        }
        if let (Some(typed), Some(Protocol::Udp), Some(Tracking::Adaptive | Tracking::Off)) =
            (typed, protocol, tracking)
        {
            let text = format!("{label}: quic needs tracking \"full\": change tracking, or remove quic");
            self.add(typed.place, &text);
        }
        Some(quic)
    }

    fn source_addresses(
        &mut self,
        raw: &raw::Service,
        mode: Option<Mode>,
        vip: Option<IpAddr>,
    ) -> Option<Vec<IpAddr>> {
        let label = raw.label.as_str();
        let list = match (&raw.source_addresses, mode) {
            (Field::Given(list), Some(Mode::Fullnat) | None) => list,
            (Field::Given(list), Some(mode @ (Mode::Dsr | Mode::Ipip | Mode::Gue | Mode::Nat))) => {
                self.meaningless(label, "source_addresses", mode, list.place);
                return None;
            }
            (Field::Mistyped, _) => return None,
            (Field::Absent, Some(Mode::Fullnat)) => {
                let text = format!("{label}: source_addresses is missing: name addresses of this node");
                self.add(raw.place, &text);
                return None;
            }
            (Field::Absent, Some(Mode::Dsr | Mode::Ipip | Mode::Gue | Mode::Nat) | None) => {
                return Some(Vec::new());
            }
        };
        if list.value.is_empty() || list.value.len() > MAX_SOURCE_ADDRESSES {
            let text =
                format!("{label}: source_addresses has {} addresses: name 1 to {MAX_SOURCE_ADDRESSES}", list.value.len());
            self.add(list.place, &text);
            return None;
        }
        let mut addresses: Vec<IpAddr> = Vec::new();
        for typed in &list.value {
            let address = self.checked(label, typed, |text| rules::address(text))?;
            if let Some(vip) = vip.filter(|vip| vip.is_ipv4() != address.is_ipv4()) {
                let text = format!("{label}: source address {address} is not of the family of {vip}: remove it");
                self.add(typed.place, &text);
            }
            let owner = self.vips.iter().find(|vip| vip.address == address);
            if let Some(text) = owner.map(|vip| {
                let (owner, place) = (vip.label.as_str(), line(vip.place));
                format!("{label}: source address {address} is the address of {owner} {place}: name another one")
            }) {
                self.add(typed.place, &text);
            }
            if addresses.contains(&address) {
                self.add(typed.place, &format!("{label}: source address {address} is named twice: remove one"));
            }
            addresses.push(address);
        }
        Some(addresses)
    }

    /// The server ID of a backend; `None` when something is wrong with it.
    pub(super) fn server_id<'f>(
        &mut self,
        label: &str,
        raw: &raw::Backend,
        quic: bool,
        seen: &mut HashMap<u16, (&'f str, Place)>,
        name: &'f str,
    ) -> Option<Option<u16>> {
        let typed = match &raw.server_id {
            Field::Given(typed) => typed,
            Field::Mistyped => return None,
            Field::Absent if quic => {
                self.add(raw.place, &format!("{label}: server_id is missing, which quic needs: add it"));
                return None;
            }
            Field::Absent => return Some(None),
        };
        let server_id = self.checked(label, typed, |number| rules::server_id(*number))?;
        if !quic {
            self.add(typed.place, &format!("{label}: server_id is only for services with quic = true: remove it"));
        } else if let Some((other, first)) = seen.insert(server_id, (name, typed.place)) {
            let text = format!("{label}: server_id {server_id} is already used by {other} {}", line(first));
            self.add(typed.place, &text);
        }
        Some(Some(server_id))
    }

    /// Replies in mode `nat` are recognised by where they come from.
    pub(super) fn replies_are_told_apart(
        &mut self,
        raw: &raw::Service,
        mode: Mode,
        protocol: Protocol,
        backends: &[Backend],
    ) {
        if mode != Mode::Nat {
            return;
        }
        for (backend, raw_backend) in backends.iter().zip(&raw.backends) {
            let place = raw_backend.address.given().map_or(raw_backend.place, |typed| typed.place);
            let label = format!("{}: {}", raw.label, raw_backend.label);
            let key = (backend.address, backend.port, protocol);
            match self.repliers.get(&key) {
                Some((other, first)) if !other.starts_with(&format!("{}: ", raw.label)) => {
                    let text = format!(
                        "{label}: address {}, port {}, {protocol} already answers for {other} {}: its replies could not be told \
                         apart; give one service mode \"fullnat\", or the server another port",
                        backend.address,
                        backend.port,
                        line(*first)
                    );
                    self.add(place, &text);
                }
                Some(_) => {}
                None => {
                    self.repliers.insert(key, (label, place));
                }
            }
        }
    }
}
