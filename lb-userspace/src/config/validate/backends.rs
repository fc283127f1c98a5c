//! `[[service.backend]]`: what was typed against the rules, its service, and the backends beside it.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::problem::Place;
use super::super::raw;
use super::super::rules::{self, ModeKey};
use super::{Judge, Owner, line, take};
use crate::model::{Backend, Mode, Protocol};

/// What the backends stand behind: what is known of their service.
pub(super) struct Behind {
    pub(super) mode: Option<Mode>,
    pub(super) vip: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) protocol: Option<Protocol>,
    pub(super) quic: Option<bool>,
}

/// What the backends of one service that came before have, and who has it.
#[derive(Default)]
struct Siblings {
    /// The port only where it tells backends apart.
    servers: HashMap<(IpAddr, Option<u16>), Owner>,
    server_ids: HashMap<u16, Owner>,
    /// Whose family the others must have, where all need one.
    first: Option<(IpAddr, Owner)>,
}

impl Siblings {
    fn take_server_id(&mut self, id: u16, owner: Owner) -> Result<(), String> {
        take(&mut self.server_ids, id, owner)
            .map_err(|other| rules::server_id_used(id, &other.name, &line(other.place)))
    }

    fn take_server(&mut self, address: IpAddr, port: Option<u16>, owner: Owner) -> Result<(), String> {
        take(&mut self.servers, (address, port), owner)
            .map_err(|other| rules::already_used(address, port, &other.name, &line(other.place)))
    }

    fn take_family(&mut self, mode: Mode, address: IpAddr, owner: Owner) -> Result<(), String> {
        let (first, other) = self.first.get_or_insert((address, owner));
        rules::one_family(mode, address, (&other.name, *first), &line(other.place))
    }
}

impl Judge<'_> {
    pub(super) fn backends(&mut self, raw: &raw::Service, behind: &Behind) -> Option<Vec<Backend>> {
        let prefix = format!("{}: ", raw.label);
        self.unique_names(
            &prefix,
            raw.backends.iter().map(|backend| (backend.label.as_str(), &backend.name)),
        );
        let mut siblings = Siblings::default();
        let backends: Vec<_> = raw
            .backends
            .iter()
            .map(|backend| self.backend(&prefix, backend, behind, &mut siblings))
            .collect();
        let backends: Vec<Backend> = backends.into_iter().collect::<Option<_>>()?;
        if !backends.is_empty() && backends.iter().all(|backend| backend.weight == 0) {
            let text = format!(
                "{prefix}every backend has weight 0: give at least one of them a weight of 1 or more"
            );
            self.add(raw.place, &text);
        }
        Some(backends)
    }

    fn backend(
        &mut self,
        prefix: &str,
        raw: &raw::Backend,
        behind: &Behind,
        siblings: &mut Siblings,
    ) -> Option<Backend> {
        let label = format!("{prefix}{}", raw.label);
        let name = self.required(&label, raw.place, "name", &raw.name, |typed| rules::name(typed));
        let address =
            self.required(&label, raw.place, "address", &raw.address, |typed| rules::address(typed));
        let port =
            self.optional(&label, &raw.port, behind.port, |typed| rules::port("port", *typed).map(Some));
        let server_id =
            self.optional(&label, &raw.server_id, None, |typed| rules::server_id(*typed).map(Some));
        let weight = self.optional(&label, &raw.weight, rules::DEFAULT_WEIGHT, |typed| rules::weight(*typed));
        if let (Some(typed), Some(mode)) = (raw.port.given(), behind.mode) {
            self.checked(&label, typed, |_| rules::has_meaning(ModeKey::Port, mode));
        }
        if let (Some(quic), Some(server_id)) = (behind.quic, server_id) {
            let place = raw.server_id.given().map_or(raw.place, |typed| typed.place);
            if let Err(why) = rules::server_id_fits(quic, server_id) {
                self.add(place, &format!("{label}: {why}"));
            }
        }
        let owner = |place: Place| Owner { name: raw.called().to_owned(), place };
        if let (Some(Some(id)), Some(typed), Some(true)) = (server_id, raw.server_id.given(), behind.quic) {
            self.checked(&label, typed, |_| siblings.take_server_id(id, owner(typed.place)));
        }
        let port = port.flatten();
        if let (Some(address), Some(typed)) = (address, raw.address.given()) {
            if let Some(mode) = behind.mode {
                self.checked(&label, typed, |_| {
                    behind.vip.map_or(Ok(()), |vip| rules::same_family(mode, vip, address))?;
                    siblings.take_family(mode, address, owner(typed.place))
                });
                let told_apart_by = port.filter(|_| mode.translates());
                let sole = self.checked(&label, typed, |_| {
                    siblings.take_server(address, told_apart_by, owner(typed.place))
                });
                if let (Some(()), Mode::Nat, Some(port), Some(protocol)) = (sole, mode, port, behind.protocol)
                {
                    self.sole_answerer(&label, (address, port, protocol), typed.place);
                }
            }
            if let Some(vip) = self.vips.get(&address) {
                let why = rules::not_a_vip(address, &vip.name, &line(vip.place));
                self.add(typed.place, &format!("{label}: {why}"));
            }
        }
        Some(Backend { name: name?, address: address?, port: port?, server_id: server_id?, weight: weight? })
    }

    /// A reply says nothing but where it comes from, and leads to one service only.
    fn sole_answerer(&mut self, label: &str, server: (IpAddr, u16, Protocol), place: Place) {
        let owner = Owner { name: label.to_owned(), place };
        if let Err(other) = take(&mut self.answerers, server, owner) {
            let why = rules::already_answers(server, &other.name, &line(other.place));
            self.add(place, &format!("{label}: {why}"));
        }
    }
}
