//! Reads a node's TOML file in two steps: what was typed (`raw`), then what cannot be wrong (`validate`).
//!
//! ```text
//!   text --raw--> values with their places --validate--> model::Config --host--> fits this machine
//!          |                                  |                            |
//!          +-- syntax, keys, types            +-- rules                    +-- interfaces
//! ```
//!
//! Every problem of a step is reported, each with its place. Nothing here touches the kernel but `host`, which asks
//! for the names of the interfaces.

mod addition;
mod capacity;
pub mod host;
mod problem;
mod raw;
mod rules;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use crate::model::{self, Prefix};
pub use addition::{NewBackend, backend};
pub use problem::{Place, Problem, Problems};

/// What the command line says in place of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Interfaces in place of the file's `interfaces`, which then need not be there; empty overrides nothing.
    pub interfaces: Vec<String>,
}

/// A valid configuration, and where in its file it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What the file says.
    pub config: model::Config,
    /// Where it says so.
    pub places: Places,
}

/// Where in its file a configuration came from, for problems that show up only later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The file as the operator named it.
    pub file: String,
    /// Place of each interface in `interfaces`; one given on the command line has none.
    pub interfaces: BTreeMap<String, Place>,
}

/// Reads and validates the file at `path`.
///
/// # Errors
/// Everything that is wrong with it; also a file that cannot be read.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Loaded, Problems> {
    let file = path.display().to_string();
    let unreadable = |place, why: String| Problems::new(&file, vec![Problem { place, text: why }]);
    let bytes = std::fs::read(path).map_err(|error| unreadable(None, format!("cannot be read: {error}")))?;
    match str::from_utf8(&bytes) {
        Ok(text) => parse(&file, text, overrides),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let place = problem::Lines::new(&before).place(before.len());
            Err(unreadable(Some(place), "is not UTF-8: save the file as UTF-8 text".to_owned()))
        }
    }
}

/// Checks the name of a service or a backend.
///
/// # Errors
/// Why it is not one.
pub fn name(typed: &str) -> Result<String, String> {
    rules::name(typed)
}

/// Reads an address that one host can have; `key` is what messages call it.
///
/// # Errors
/// Why it is not one.
pub(crate) fn address(key: &str, typed: &str) -> Result<IpAddr, String> {
    rules::address(typed).map_err(|why| format!("{key}: {why}"))
}

/// Reads a prefix of addresses that one host can have; `key` is what messages call it.
///
/// # Errors
/// Why it is not one.
pub(crate) fn prefix(key: &str, typed: &str) -> Result<Prefix, String> {
    rules::prefix(key, typed)
}

/// Reads a prefix of sources, as `allow` takes it; messages call it `key`.
///
/// # Errors
/// Why it is not one.
pub fn sources(key: &str, typed: &str) -> Result<model::Prefix, String> {
    rules::sources(key, typed)
}

/// Validates `text`, which messages call `file`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(file: &str, text: &str, overrides: &Overrides) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let raw = raw::read(text, &problem::Lines::new(text), &mut problems);
    let valid = raw.and_then(|raw| validate::config(&raw, overrides, &mut problems));
    match valid {
        Some((config, interfaces)) if problems.is_empty() => {
            Ok(Loaded { config, places: Places { file: file.to_owned(), interfaces } })
        }
        Some(_) | None => Err(Problems::new(file, problems)),
    }
}
