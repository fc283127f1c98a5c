//! From what was typed to what cannot be wrong: applies the rules to a whole file, and says where each is broken.
//!
//! A value that is wrong does not hide the next one: each part is checked on its own, and the configuration is returned
//! only if nothing was found.

mod access;
mod backends;
mod check;
mod node;
mod service;

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

use super::capacity::{self, Blame};
use super::problem::{Place, Problem};
use super::raw::{self, At, Field};
use super::{Overrides, rules};
use crate::model::{Config, Protocol, Service};

/// The configuration and the places of its interfaces; `None` only if something was added to `problems`.
pub(super) fn config(
    raw: &raw::File,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
) -> Option<(Config, BTreeMap<String, Place>)> {
    let mut judge = Judge {
        problems,
        vips: vips(raw),
        servers: servers(raw),
        listeners: HashMap::new(),
        answerers: HashMap::new(),
    };
    let node = judge.node(&raw.node, overrides);
    judge.unique_names("", raw.services.iter().map(|service| (service.label.as_str(), &service.name)));
    let services: Vec<_> = raw.services.iter().map(|service| judge.service(service)).collect();
    let services: Option<Vec<Service>> = services.into_iter().collect();
    let (node, places) = node?;
    let services = services?;
    let config = Config { node, services };
    judge.fits(raw, &config);
    Some((config, places))
}

/// The VIPs, however wrong the rest of their services may be.
fn vips(raw: &raw::File) -> HashMap<IpAddr, Owner> {
    let mut vips = HashMap::new();
    for service in &raw.services {
        own(&mut vips, &service.address, || service.label.trim_start_matches("service ").to_owned());
    }
    vips
}

/// The addresses of all backends, however wrong the rest may be.
fn servers(raw: &raw::File) -> HashMap<IpAddr, Owner> {
    let mut servers = HashMap::new();
    for service in &raw.services {
        for backend in &service.backends {
            own(&mut servers, &backend.address, || format!("{} of {}", backend.label, service.label));
        }
    }
    servers
}

/// Notes who has an address; the first one stays.
fn own(owners: &mut HashMap<IpAddr, Owner>, typed: &Field<String>, name: impl FnOnce() -> String) {
    if let Some(typed) = typed.given()
        && let Ok(address) = rules::address(&typed.value)
    {
        owners.entry(address).or_insert_with(|| Owner { name: name(), place: typed.place });
    }
}

/// Who has something, and where that was said.
struct Owner {
    /// As messages call it.
    name: String,
    place: Place,
}

/// Gives something that only one may have to `new`.
///
/// # Errors
/// The one who has it already.
fn take<K: Eq + Hash>(owners: &mut HashMap<K, Owner>, key: K, new: Owner) -> Result<(), &mut Owner> {
    match owners.entry(key) {
        Entry::Occupied(taken) => Err(taken.into_mut()),
        Entry::Vacant(free) => {
            free.insert(new);
            Ok(())
        }
    }
}

struct Judge<'a> {
    problems: &'a mut Vec<Problem>,
    /// The services' addresses; their names without the word service.
    vips: HashMap<IpAddr, Owner>,
    /// The backends' addresses.
    servers: HashMap<IpAddr, Owner>,
    /// Who listens where.
    listeners: HashMap<(IpAddr, u16, Protocol), Owner>,
    /// Whose replies come from where, in mode nat.
    answerers: HashMap<(IpAddr, u16, Protocol), Owner>,
}

impl Judge<'_> {
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
                        format!("{prefix}{label}: name is already used{}: choose another", line(*place));
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

/// Where something stands, as a sentence goes on after naming it.
fn line(place: Place) -> String {
    format!(" (line {})", place.line)
}
