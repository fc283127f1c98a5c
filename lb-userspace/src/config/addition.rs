//! May this backend join a running service? The rules of the file, for what the API is asked to add.

use serde::{Deserialize, Serialize};

use super::rules;
use crate::model::{Backend, Config, Service};

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
        if let Some(other) = service.backends.iter().find(|other| other.address == address) {
            return Err(format!("address {address} is already used by {}", other.name));
        }
        if let Some(slots) = service.slots {
            let weighted = service.backends.iter().filter(|other| other.weight > 0).count();
            rules::slots_for(slots, weighted + usize::from(weight > 0))?;
        }
        Ok(Backend { name, address, port: service.port, server_id: None, weight })
    };
    judge().map_err(|why| format!("service {}: backend {}: {why}", service.name, new.name.escape_debug()))
}
