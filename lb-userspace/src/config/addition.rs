//! May this backend join a running service? The rules of the file, for what the API is asked to add.

use serde::{Deserialize, Serialize};

use super::rules::{self, ModeKey};
use crate::model::{Backend, Config, Mode, Service};

/// A backend that is to be added to a running service, as an operator typed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBackend {
    /// Unique within the service.
    pub name: String,
    /// An IP address.
    pub address: String,
    /// In the modes nat and fullnat only; the service's port when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// Of QUIC services only, and required there: 0 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_id: Option<i64>,
    /// 0 to 1000; 1 when it is not given.
    #[serde(default = "default_weight")]
    pub weight: i64,
}

fn default_weight() -> i64 {
    i64::from(rules::DEFAULT_WEIGHT)
}

/// Judges a backend that is to join `service` of `config`, by the rules of the file.
///
/// # Errors
/// The first rule it breaks, as a sentence that names service and backend.
pub fn backend(config: &Config, service: &Service, new: &NewBackend) -> Result<Backend, String> {
    let judge = || -> Result<Backend, String> {
        let backend = Backend {
            name: rules::name(&new.name)?,
            address: rules::address(&new.address)?,
            port: new.port.map_or(Ok(service.port), |typed| rules::port("port", typed))?,
            server_id: new.server_id.map(rules::server_id).transpose()?,
            weight: rules::weight(new.weight)?,
        };
        if new.port.is_some() {
            rules::has_meaning(ModeKey::Port, service.mode)?;
        }
        rules::server_id_fits(service.quic, backend.server_id)?;
        fits_service(service, &backend)?;
        fits_node(config, service, &backend)?;
        Ok(backend)
    };
    judge().map_err(|why| format!("service {}: backend {}: {why}", service.name, new.name.escape_debug()))
}

/// Does it fit its own service?
fn fits_service(service: &Service, new: &Backend) -> Result<(), String> {
    let (mode, others) = (service.mode, &service.backends);
    rules::same_family(mode, service.address, new.address)?;
    match (others.first(), service.encap_source) {
        (Some(first), _) => rules::one_family(mode, new.address, (&first.name, first.address), "")?,
        (None, Some(source)) => rules::family_of_source(new.address, source)?,
        (None, None) => (),
    }
    if others.iter().any(|other| other.name == new.name) {
        return Err("a backend of this name is already there: choose another name, or delete that one first"
            .to_owned());
    }
    let told_apart_by = |backend: &Backend| (backend.address, mode.translates().then_some(backend.port));
    if let Some(other) = others.iter().find(|other| told_apart_by(other) == told_apart_by(new)) {
        return Err(rules::already_used(new.address, told_apart_by(new).1, &other.name, ""));
    }
    let same_id = |other: &&Backend| other.server_id == new.server_id;
    if let (Some(id), Some(other)) = (new.server_id, others.iter().find(same_id)) {
        return Err(rules::server_id_used(id, &other.name, ""));
    }
    if let Some(slots) = service.slots {
        let weighted = others.iter().filter(|other| other.weight > 0).count();
        rules::slots_for(slots, weighted + usize::from(new.weight > 0))?;
    }
    Ok(())
}

/// Does it fit the other services?
fn fits_node(config: &Config, service: &Service, new: &Backend) -> Result<(), String> {
    if let Some(owner) = config.services.iter().find(|other| other.address == new.address) {
        return Err(rules::not_a_vip(new.address, &owner.name, ""));
    }
    if let Some(owner) = config.services.iter().find(|other| other.source_addresses.contains(&new.address)) {
        return Err(rules::not_a_source(new.address, &owner.name));
    }
    if service.mode != Mode::Nat {
        return Ok(());
    }
    let rivals = config.services.iter().filter(|other| {
        other.mode == Mode::Nat && other.protocol == service.protocol && other.name != service.name
    });
    for rival in rivals {
        let same = |other: &&Backend| (other.address, other.port) == (new.address, new.port);
        if let Some(other) = rival.backends.iter().find(same) {
            let server = (new.address, new.port, service.protocol);
            let name = format!("service {}: backend {}", rival.name, other.name);
            return Err(rules::already_answers(server, &name, ""));
        }
    }
    Ok(())
}
