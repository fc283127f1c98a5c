//! How large the programs are, by what a configuration uses: what it does not use is not loaded.

use anyhow::Result;
use lb_common::abi::features::Features;
use lb_userspace::dataplane::kernel::{self, Kernel, ProgramSize};
use serde::Serialize;

use super::cases::options;

/// The programs as they are loaded for one configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Configuration {
    /// What is in the configuration.
    pub name: &'static str,
    /// Instructions of the program that every packet meets.
    pub first: u32,
    /// Instructions of those that it goes on in, together.
    pub others: u32,
    /// Instructions that the verifier walked through for all of them.
    pub verified: u32,
    /// Until they were loaded, in milliseconds.
    pub load_ms: f64,
}

const CONFIGURATIONS: [(&str, Features); 9] = [
    ("dsr, nothing else", Features::NONE),
    ("and tracking", Features::TRACKING),
    ("and neighbors", Features::NEIGHBORS),
    ("and ipip", Features::IPIP),
    ("and gue", Features::GUE),
    ("and nat", Features::NAT),
    ("and fullnat", Features::FULLNAT),
    ("and lists, limits, quic", Features(Features::LISTS.0 | Features::LIMITS.0 | Features::QUIC.0)),
    ("everything", Features::ALL),
];

/// Loads the programs for each configuration.
///
/// # Errors
/// When they do not load.
pub fn configurations() -> Result<Vec<Configuration>> {
    let load = |(name, features): &(&'static str, Features)| {
        let begun = std::time::Instant::now();
        let mut kernel = Kernel::load(&kernel::Options { features: *features, ..options() })?;
        let load_ms = begun.elapsed().as_secs_f64() * 1e3;
        let sizes = kernel.sizes()?;
        let sum = |of: fn(&ProgramSize) -> u32| sizes.iter().map(of).sum::<u32>();
        let first = sizes.first().map_or(0, |size| size.translated);
        let others = sum(|size| size.translated) - first;
        Ok(Configuration { name, first, others, verified: sum(|size| size.verified), load_ms })
    };
    CONFIGURATIONS.iter().map(load).collect()
}
