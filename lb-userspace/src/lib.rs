//! The xlb control plane: reads the configuration, checks the backends, and keeps the data plane's tables equal to what should be.

pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod dataplane;
pub mod decap;
pub mod desired;
pub mod health;
pub mod model;
pub mod nearest;
pub mod neighbor;
pub mod packet;
pub mod pcap;
pub mod reconcile;
