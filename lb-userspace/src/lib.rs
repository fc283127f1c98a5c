//! The xlb control plane: reads the configuration, checks the backends, and keeps the data plane's tables equal to what should be.

pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod health;
pub mod model;
pub mod nearest;
