//! From a backend's address to what a frame needs: next hop, interface, MAC addresses, MTU.
//!
//! The kernel knows all of it; this module asks, keeps asking, and keeps the kernel knowing. Routes, neighbors and links are
//! watched over netlink, and after any change everything is resolved anew: the kernel is the one truth, and a few hundred
//! lookups cost less than a second copy of its tables. Next hops are entered as *managed* neighbors (`NTF_EXT_MANAGED`, Linux
//! 5.16), which the kernel keeps resolved by itself: XDP traffic does not refresh an entry.
//!
//! `resolve` asks once; `watch` is the task that asks again.

mod resolve;
mod watch;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

pub use resolve::{Interface, Interfaces};
pub use watch::{Watch, spawn};

/// How to reach a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Name of the egress interface.
    pub interface: String,
    /// Its index.
    pub interface_index: u32,
    /// The router in between; `None` for a backend on a network of this node.
    pub gateway: Option<IpAddr>,
    /// MAC address of the next hop.
    pub mac: [u8; 6],
    /// MAC address of the egress interface.
    pub source_mac: [u8; 6],
    /// Address that the kernel would send from.
    pub source_address: IpAddr,
    /// Largest IP packet that the egress interface takes, in bytes.
    pub mtu_bytes: u32,
}

/// Why a backend cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No route leads there, or one that refuses.
    NoRoute,
    /// It is an address of this node.
    Local,
    /// The egress interface has no MAC address, or is gone.
    NotEthernet {
        /// Its name.
        interface: String,
    },
    /// The next hop does not answer ARP or neighbor solicitations, or has not answered yet.
    NoNeighbor {
        /// The address that was asked for.
        next_hop: IpAddr,
        /// Where.
        interface: String,
    },
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("no route"),
            Self::Local => f.write_str("is an address of this node"),
            Self::NotEthernet { interface } => write!(f, "interface {interface} has no MAC address"),
            Self::NoNeighbor { next_hop, interface } => {
                write!(f, "no answer from neighbor {next_hop} on {interface}")
            }
        }
    }
}

/// What is known of one address.
pub type Resolution = Result<NextHop, Unresolved>;

/// What is known of all addresses that were asked for, and of the node's interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By backend address.
    pub next_hops: HashMap<IpAddr, Resolution>,
    /// By index.
    pub interfaces: Interfaces,
}

/// A MAC address as people write it.
#[must_use]
pub fn format_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
