//! The daemon: one core loop that turns config, health and requests into what the kernel should have.

use std::path::PathBuf;

use thiserror::Error;

use crate::config::Problems;

/// What `xlb run` was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Interfaces in place of the file's; empty overrides nothing.
    pub interfaces: Vec<String>,
    /// Where the API listens.
    pub socket: PathBuf,
    /// Whether the program logs every packet it drops.
    pub trace_drops: bool,
}

/// Why the daemon ended.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration is not valid; nothing was changed.
    #[error(transparent)]
    Config(#[from] Problems),
    /// Anything else.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Runs until it is told to stop.
///
/// # Errors
/// An invalid configuration, or what the system refused.
pub async fn run(options: Options) -> Result<(), Error> {
    use crate::config::{Overrides, host, load};
    let loaded = load(&options.config, &Overrides { interfaces: options.interfaces.clone() })?;
    host::check(&loaded)?;
    Err(Error::Failed(anyhow::anyhow!("the data plane is not built in yet")))
}
