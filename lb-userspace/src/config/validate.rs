//! From what was typed to what cannot be wrong: applies the rules to a whole file, and says where each is broken.
//!
//! A value that is wrong does not hide the next one: each part is checked on its own, and the configuration is returned
//! only if nothing was found.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use super::capacity::{self, Blame};
use super::problem::{Place, Problem};
use super::raw::{self, At, Field};
use super::{Overrides, rules};
use crate::model::{
    Backend, Check, CheckKind, Config, Mode, Node, OnDown, Protocol, Service, Tracking, XdpMode,
};

const DEFAULT_MAX_SLOTS: u32 = 4_194_304;
const DEFAULT_MAX_FLOWS: u32 = 1_048_576;
const DEFAULT_MAX_NAT_FLOWS: u32 = 262_144;
const DEFAULT_MAX_FRAGMENTS: u32 = 8192;
const DEFAULT_GUE_PORT: u16 = 6080;
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const DEFAULT_PATH: &str = "/";
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// The longest timeout that is chosen for a check that names none; never longer than its interval.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_RISE: u32 = 2;
const DEFAULT_FALL: u32 = 3;

/// The configuration and the places of its interfaces; `None` only if something was added to `problems`.
pub(super) fn config(
    raw: &raw::File,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) -> Option<(Config, BTreeMap<String, Place>)> {
    let mut judge = Judge { problems, vips: Vec::new(), listeners: HashMap::new() };
    let node = judge.node(&raw.node, overrides);
    judge.vips = raw.services.iter().filter_map(vip).collect();
    judge.unique_names("", raw.services.iter().map(|service| (service.label.as_str(), &service.name)));
    let services: Vec<_> = raw.services.iter().map(|service| judge.service(service)).collect();
    let services: Option<Vec<Service>> = services.into_iter().collect();
    let (node, places) = node?;
    let services = services?;
    let config = Config { node, services };
    judge.fits(raw, &config);
    Some((config, places))
}

/// The VIP of a service, however wrong the rest of it may be.
fn vip(service: &raw::Service) -> Option<Vip> {
    let typed = service.address.given()?;
    Some(Vip {
        address: rules::address(&typed.value).ok()?,
        label: service.label.clone(),
        place: typed.place,
    })
}

struct Vip {
    address: IpAddr,
    label: String,
    place: Place,
}

struct Judge<'a> {
    problems: &'a mut Vec<Problem>,
    vips: Vec<Vip>,
    /// Who listens where: label and place of the address.
    listeners: HashMap<(IpAddr, u16, Protocol), (String, Place)>,
}

impl Judge<'_> {
    fn node(
        &mut self,
        raw: &Field<raw::Node>,
        overrides: &Overrides,
    ) -> Option<(Node, BTreeMap<String, Place>)> {
        let at = match raw {
            Field::Given(at) => at,
            Field::Mistyped => return None,
            Field::Absent => {
                let text = "node: is missing: add a table [node] with name and interfaces".to_owned();
                self.problems.push(Problem { place: None, text });
                return None;
            }
        };
        let (node, label) = (&at.value, "node");
        let name = self.required(label, at.place, "name", &node.name, |typed| rules::name(typed));
        let xdp_mode = self.optional(label, &node.xdp_mode, XdpMode::Native, |typed| rules::xdp_mode(typed));
        let max_slots =
            self.optional(label, &node.max_slots, DEFAULT_MAX_SLOTS, |typed| rules::node_slots(*typed));
        let interfaces = if overrides.interfaces.is_empty() {
            self.interfaces(at.place, &node.interfaces)
        } else {
            self.overriding_interfaces(&overrides.interfaces)
        };
        let (interfaces, places) = interfaces?;
        let node = Node {
            name: name?,
            interfaces,
            xdp_mode: xdp_mode?,
            max_slots: max_slots?,
            answer_neighbors: true,
            max_flows: DEFAULT_MAX_FLOWS,
            max_nat_flows: DEFAULT_MAX_NAT_FLOWS,
            max_fragments: DEFAULT_MAX_FRAGMENTS,
        };
        Some((node, places))
    }

    fn interfaces(
        &mut self,
        node: Place,
        typed: &Field<Vec<At<String>>>,
    ) -> Option<(Vec<String>, BTreeMap<String, Place>)> {
        let list = match typed {
            Field::Given(list) => list,
            Field::Mistyped => return None,
            Field::Absent => {
                self.add(
                    node,
                    "node: interfaces is missing: name at least one, such as interfaces = [\"eth0\"]",
                );
                return None;
            }
        };
        if list.value.is_empty() {
            self.add(
                list.place,
                "node: interfaces is empty: name at least one, such as interfaces = [\"eth0\"]",
            );
            return None;
        }
        let mut places = BTreeMap::new();
        let mut names = Vec::new();
        for interface in &list.value {
            let Some(name) = self.checked("node", interface, |typed| rules::interface(typed)) else {
                continue;
            };
            if let Some(first) = places.get(&name).copied() {
                let text = format!("node: interface {name} is already named {}: remove one", line(first));
                self.add(interface.place, &text);
                continue;
            }
            places.insert(name.clone(), interface.place);
            names.push(name);
        }
        Some((names, places))
    }

    fn overriding_interfaces(&mut self, given: &[String]) -> Option<(Vec<String>, BTreeMap<String, Place>)> {
        for (n, name) in given.iter().enumerate() {
            let twice = || format!("interface {name} is given twice: remove one");
            let judged = rules::interface(name);
            if let Err(why) = if given[..n].contains(name) { Err(twice()) } else { judged.map(drop) } {
                self.problems.push(Problem { place: None, text: format!("--interface: {why}") });
            }
        }
        Some((given.to_vec(), BTreeMap::new()))
    }

    fn service(&mut self, raw: &raw::Service) -> Option<Service> {
        let label = raw.label.as_str();
        let name = self.required(label, raw.place, "name", &raw.name, |typed| rules::name(typed));
        let address = self.required(label, raw.place, "address", &raw.address, |typed| rules::address(typed));
        let port = self.required(label, raw.place, "port", &raw.port, |typed| rules::port(*typed));
        let protocol =
            self.required(label, raw.place, "protocol", &raw.protocol, |typed| rules::protocol(typed));
        let mode = self.required(label, raw.place, "mode", &raw.mode, |typed| rules::mode(typed));
        let slots = self.optional(label, &raw.slots, None, |typed| rules::slots(*typed).map(Some));
        let prefix = |typed: &String| rules::prefix("encap_source", typed).map(Some);
        let encap_source = self.optional(label, &raw.encap_source, None, prefix);
        if let (Some(address), Some(port), Some(protocol)) = (address, port, protocol) {
            self.sole_listener(raw, address, port, protocol);
        }
        if let (Some(typed), Some(mode)) = (raw.encap_source.given(), mode) {
            let prefix = encap_source.flatten().map(|prefix| prefix.address);
            self.encap_source_fits(label, typed.place, mode, address, prefix);
        }
        let check = self.check(label, &raw.check);
        let backends = self.backends(raw, mode, address, port);
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
            gue_port: DEFAULT_GUE_PORT,
            source_addresses: Vec::new(),
            tracking: match protocol? {
                Protocol::Tcp => Tracking::Adaptive,
                Protocol::Udp => Tracking::Full,
            },
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            on_down: OnDown::Reset,
            allow: Vec::new(),
            deny: Vec::new(),
            rate_limit: None,
            quic: false,
            check: check?,
            backends: backends?,
        })
    }

    fn sole_listener(&mut self, raw: &raw::Service, address: IpAddr, port: u16, protocol: Protocol) {
        let Some(place) = raw.address.given().map(|typed| typed.place) else { return };
        match self.listeners.get(&(address, port, protocol)) {
            Some((other, first)) => {
                let text = format!(
                    "{}: address {address}, port {port}, {protocol} is already used by {other} {}: change one of the \
                     three",
                    raw.label,
                    line(*first)
                );
                self.add(place, &text);
            }
            None => {
                self.listeners.insert((address, port, protocol), (raw.label.clone(), place));
            }
        }
    }

    fn encap_source_fits(
        &mut self,
        label: &str,
        place: Place,
        mode: Mode,
        vip: Option<IpAddr>,
        source: Option<IpAddr>,
    ) {
        match mode {
            Mode::Dsr | Mode::Nat | Mode::Fullnat => {
                let text = format!(
                    "{label}: encap_source has no meaning in mode {mode}, which adds no header: remove it"
                );
                self.add(place, &text);
            }
            Mode::Ipip | Mode::Gue => {
                if let (Some(vip), Some(source)) = (vip, source)
                    && vip.is_ipv4() != source.is_ipv4()
                {
                    let family = if vip.is_ipv4() { "IPv4" } else { "IPv6" };
                    let text = format!(
                        "{label}: encap_source {source} is not of the family of {vip}: give an {family} prefix"
                    );
                    self.add(place, &text);
                }
            }
        }
    }

    fn backends(
        &mut self,
        raw: &raw::Service,
        mode: Option<Mode>,
        vip: Option<IpAddr>,
        port: Option<u16>,
    ) -> Option<Vec<Backend>> {
        let prefix = format!("{}: ", raw.label);
        self.unique_names(
            &prefix,
            raw.backends.iter().map(|backend| (backend.label.as_str(), &backend.name)),
        );
        let mut users: HashMap<IpAddr, (&str, Place)> = HashMap::new();
        let mut backends = Vec::new();
        for raw in &raw.backends {
            let label = format!("{prefix}{}", raw.label);
            let name = self.required(&label, raw.place, "name", &raw.name, |typed| rules::name(typed));
            let address =
                self.required(&label, raw.place, "address", &raw.address, |typed| rules::address(typed));
            let weight =
                self.optional(&label, &raw.weight, rules::DEFAULT_WEIGHT, |typed| rules::weight(*typed));
            if let (Some(address), Some(typed)) = (address, raw.address.given()) {
                self.backend_address(&label, address, typed.place, mode, vip);
                if let Some((other, first)) = users.get(&address) {
                    let text =
                        format!("{label}: address {address} is already used by {other} {}", line(*first));
                    self.add(typed.place, &text);
                } else {
                    let other = raw.name.given().map_or(raw.label.as_str(), |name| name.value.as_str());
                    users.insert(address, (other, typed.place));
                }
            }
            backends.push(name.zip(address).zip(port).zip(weight).map(
                |(((name, address), port), weight)| Backend { name, address, port, server_id: None, weight },
            ));
        }
        let backends: Vec<Backend> = backends.into_iter().collect::<Option<_>>()?;
        if !backends.is_empty() && backends.iter().all(|backend| backend.weight == 0) {
            let text = format!(
                "{prefix}every backend has weight 0: give at least one of them a weight of 1 or more"
            );
            self.add(raw.place, &text);
        }
        Some(backends)
    }

    fn backend_address(
        &mut self,
        label: &str,
        address: IpAddr,
        place: Place,
        mode: Option<Mode>,
        vip: Option<IpAddr>,
    ) {
        if let (Some(mode), Some(vip)) = (mode, vip)
            && let Err(why) = rules::same_family(mode, vip, address)
        {
            self.add(place, &format!("{label}: {why}"));
        }
        if let Some(owner) = self.vips.iter().find(|vip| vip.address == address) {
            let name = owner.label.trim_start_matches("service ");
            let text =
                format!("{label}: {}", rules::not_a_vip(address, name, &format!(" {}", line(owner.place))));
            self.add(place, &text);
        }
    }

    fn check(&mut self, service: &str, raw: &Field<raw::Check>) -> Option<Option<Check>> {
        let at = match raw {
            Field::Given(at) => at,
            Field::Mistyped => return None,
            Field::Absent => return Some(None),
        };
        let (raw, label) = (&at.value, format!("{service}: check"));
        let kinds = [("tcp", false), ("http", true)];
        let http =
            self.required(&label, at.place, "kind", &raw.kind, |typed| rules::one_of("kind", typed, &kinds));
        let path = self.optional(&label, &raw.path, DEFAULT_PATH.to_owned(), |typed| rules::path(typed));
        let host = self.optional(&label, &raw.host, None, |typed| rules::host(typed).map(Some));
        let interval = self
            .optional(&label, &raw.interval, DEFAULT_INTERVAL, |typed| rules::duration("interval", typed));
        let default_timeout = interval.unwrap_or(DEFAULT_INTERVAL).min(DEFAULT_TIMEOUT);
        let timeout =
            self.optional(&label, &raw.timeout, default_timeout, |typed| rules::duration("timeout", typed));
        let rise = self.optional(&label, &raw.rise, DEFAULT_RISE, |typed| rules::in_a_row("rise", *typed));
        let fall = self.optional(&label, &raw.fall, DEFAULT_FALL, |typed| rules::in_a_row("fall", *typed));
        let port = self.optional(&label, &raw.port, None, |typed| rules::port(*typed).map(Some));
        if let (Some(interval), Some(timeout), Some(typed)) = (interval, timeout, raw.timeout.given())
            && timeout > interval
        {
            let text = format!(
                "{label}: timeout {} is longer than the interval of {interval:?}: shorten it, or lengthen interval",
                typed.value
            );
            self.add(typed.place, &text);
        }
        if http == Some(false) {
            for (key, field) in [("path", &raw.path), ("host", &raw.host)] {
                if let Some(typed) = field.given() {
                    let text = format!("{label}: {key} is only for kind \"http\": remove it, or change kind");
                    self.add(typed.place, &text);
                }
            }
        }
        let kind = if http? { CheckKind::Http { path: path?, host: host? } } else { CheckKind::Tcp };
        Some(Some(Check {
            kind,
            interval: interval?,
            timeout: timeout?,
            rise: rise?,
            fall: fall?,
            port: port?,
        }))
    }

    /// The tables of the data plane have a fixed size.
    fn fits(&mut self, raw: &raw::File, config: &Config) {
        for (blame, text) in capacity::check(config) {
            let node = raw.node.given().map(|node| &node.value);
            let place = match blame {
                Blame::Interfaces => node.and_then(|node| node.interfaces.given()).map(|typed| typed.place),
                Blame::MaxSlots => node.and_then(|node| node.max_slots.given()).map(|typed| typed.place),
                Blame::Nothing => None,
            };
            self.problems.push(Problem { place, text });
        }
    }

    fn unique_names<'f>(&mut self, prefix: &str, names: impl Iterator<Item = (&'f str, &'f Field<String>)>) {
        let mut first: HashMap<&str, Place> = HashMap::new();
        for (label, typed) in names.filter_map(|(label, name)| Some((label, name.given()?))) {
            match first.get(typed.value.as_str()) {
                Some(place) => {
                    let text =
                        format!("{prefix}{label}: name is already used {}: choose another", line(*place));
                    self.add(typed.place, &text);
                }
                None => {
                    first.insert(&typed.value, typed.place);
                }
            }
        }
    }

    fn required<T, U>(
        &mut self,
        label: &str,
        owner: Place,
        key: &str,
        field: &Field<T>,
        rule: impl FnOnce(&T) -> Result<U, String>,
    ) -> Option<U> {
        match field {
            Field::Given(typed) => self.checked(label, typed, rule),
            Field::Mistyped => None,
            Field::Absent => {
                self.add(owner, &format!("{label}: {key} is missing: add it"));
                None
            }
        }
    }

    fn optional<T, U>(
        &mut self,
        label: &str,
        field: &Field<T>,
        default: U,
        rule: impl FnOnce(&T) -> Result<U, String>,
    ) -> Option<U> {
        match field {
            Field::Given(typed) => self.checked(label, typed, rule),
            Field::Mistyped => None,
            Field::Absent => Some(default),
        }
    }

    fn checked<T, U>(
        &mut self,
        label: &str,
        typed: &At<T>,
        rule: impl FnOnce(&T) -> Result<U, String>,
    ) -> Option<U> {
        rule(&typed.value).map_err(|why| self.add(typed.place, &format!("{label}: {why}"))).ok()
    }

    fn add(&mut self, place: Place, text: &str) {
        self.problems.push(Problem { place: Some(place), text: text.to_owned() });
    }
}

fn line(place: Place) -> String {
    format!("(line {})", place.line)
}
