//! May this backend join a running service? The rules of the file, for what the API is asked to add.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::rules;
use crate::model::{Backend, Config, Mode, Service};

/// A backend that is to be added to a running service, as an operator typed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBackend {
    /// Unique within the service.
    pub name: String,
    /// An IP address.
    pub address: String,
    /// 0 to 1000; 1 when it is not given.
    #[serde(default = "default_weight")]
    pub weight: i64,
    /// The port that it listens at, in modes `nat` and `fullnat`; the service's when it is not given.
    #[serde(default)]
    pub port: Option<i64>,
    /// What its QUIC connection IDs say, in a service with `quic`.
    #[serde(default)]
    pub server_id: Option<i64>,
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
        let name = rules::name(&new.name)?;
        let address = rules::address(&new.address)?;
        let weight = rules::weight(new.weight)?;
        rules::same_family(service.mode, service.address, address)?;
        if let Some(owner) = config.services.iter().find(|other| other.address == address) {
            return Err(rules::not_a_vip(address, &owner.name, ""));
        }
        if service.backends.iter().any(|other| other.name == name) {
            return Err(
                "a backend of this name is already there: choose another name, or delete that one first"
                    .to_owned(),
            );
        }
        let port = port(service, new)?;
        let same = |other: &&Backend| {
            other.address == address && (!service.mode.translates() || other.port == port)
        };
        if let Some(other) = service.backends.iter().find(same) {
            return Err(format!("address {address} is already used by {}", other.name));
        }
        if let Some(first) = service.backends.iter().find(|b| b.address.is_ipv4() != address.is_ipv4()) {
            return Err(format!(
                "address {address} is not of the family of {}: give all backends of a service one family",
                first.address
            ));
        }
        let server_id = server_id(service, new)?;
        answers_for_nobody_else(config, service, address, port)?;
        if let Some(slots) = service.slots {
            let weighted = service.backends.iter().filter(|other| other.weight > 0).count();
            rules::slots_for(slots, weighted + usize::from(weight > 0))?;
        }
        Ok(Backend { name, address, weight, port, server_id })
    };
    judge().map_err(|why| format!("service {}: backend {}: {why}", service.name, new.name.escape_debug()))
}

fn port(service: &Service, new: &NewBackend) -> Result<u16, String> {
    match new.port {
        Some(_) if !service.mode.translates() => {
            Err(format!("port has no meaning in mode {}: leave it out", service.mode))
        }
        Some(port) => rules::port(port),
        None => Ok(service.port),
    }
}

fn server_id(service: &Service, new: &NewBackend) -> Result<Option<u16>, String> {
    let server_id = new.server_id.map(rules::server_id).transpose()?;
    match server_id {
        None if service.quic => Err("server_id is missing, which quic needs: give one".to_owned()),
        Some(_) if !service.quic => {
            Err("server_id is only for services with quic = true: leave it out".to_owned())
        }
        Some(id) => match service.backends.iter().find(|other| other.server_id == Some(id)) {
            Some(other) => Err(format!("server_id {id} is already used by {}", other.name)),
            None => Ok(Some(id)),
        },
        None => Ok(None),
    }
}

/// Replies in mode `nat` are recognised by where they come from.
fn answers_for_nobody_else(
    config: &Config,
    service: &Service,
    address: IpAddr,
    port: u16,
) -> Result<(), String> {
    let others = config.services.iter().filter(|other| {
        service.mode == Mode::Nat
            && other.mode == Mode::Nat
            && other.protocol == service.protocol
            && other.name != service.name
    });
    for other in others {
        if other.backends.iter().any(|backend| (backend.address, backend.port) == (address, port)) {
            return Err(format!(
                "address {address}, port {port} already answers for service {}: its replies could not be told apart; give one \
                 service mode \"fullnat\", or the server another port",
                other.name
            ));
        }
    }
    Ok(())
}
