//! What cannot be wrong: the configuration after validation.
//!
//! A value of these types has passed every rule of `config::validate`; the rest of the daemon does not check again. How
//! the file is written is `config::raw`'s business, what the kernel is told `desired`'s.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One node's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The node itself.
    pub node: Node,
    /// The services, in the order of the file.
    pub services: Vec<Service>,
}

/// What `[node]` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node's name, as logs and `status` show it.
    pub name: String,
    /// Names of the interfaces the XDP program is attached to; at least one, none twice.
    pub interfaces: Vec<String>,
    /// How the program may be attached.
    pub xdp_mode: XdpMode,
    /// How many slots all Maglev tables may have together.
    pub max_slots: u32,
    /// Whether ARP and neighbor solicitations for VIPs are answered.
    pub answer_neighbors: bool,
    /// How many flows can be remembered at a time, a power of two.
    pub max_flows: u32,
    /// How many connections of mode `fullnat` there can be at a time.
    pub max_nat_flows: u32,
    /// How many fragmented packets can be under way at a time, a power of two.
    pub max_fragments: u32,
}

/// How the XDP program may be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// In the driver, or not at all.
    Native,
    /// In the network stack: works with every driver, and is slower.
    Generic,
    /// In the driver if it can, else in the network stack.
    Auto,
}

/// A service: the address, port and protocol that clients use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Unique among the services of a node.
    pub name: String,
    /// The VIP.
    pub address: IpAddr,
    /// 1 to 65535.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// How packets reach the backends.
    pub mode: Mode,
    /// Size of the Maglev table, a prime; `None` lets the size follow the number of backends.
    pub slots: Option<u32>,
    /// Where the outer source address of an encapsulated packet comes from; `None` is the address of the egress interface.
    pub encap_source: Option<Prefix>,
    /// Which flows are remembered.
    pub tracking: Tracking,
    /// A flow that sends nothing for that long has ended, as far as remembering goes; whole seconds, at least one.
    pub idle_timeout: Duration,
    /// What becomes of the flows of a backend that dies.
    pub on_down: OnDown,
    /// Sources that are let in; if there are any, no others are.
    pub allow: Vec<Prefix>,
    /// Sources that are kept out; the longest prefix of both lists decides.
    pub deny: Vec<Prefix>,
    /// How many flows one source may begin.
    pub rate_limit: Option<RateLimit>,
    /// Whether QUIC connection IDs name the backend.
    pub quic: bool,
    /// UDP port that packets of mode `gue` are sent to.
    pub gue_port: u16,
    /// Addresses of this node that packets of mode `fullnat` get; not empty there.
    pub source_addresses: Vec<IpAddr>,
    /// How backends are checked; `None` takes every backend as up.
    pub check: Option<Check>,
    /// In the order of the file; names and addresses are unique within a service.
    pub backends: Vec<Backend>,
}

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

/// How packets reach a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Direct server return: only the MAC addresses are rewritten; the backend has the VIP on its loopback.
    Dsr,
    /// An outer IP header of the backend's family (RFC 2003, RFC 4213, RFC 2473).
    Ipip,
    /// Outer IP and UDP headers of the backend's family (GUE, variant 1).
    Gue,
    /// The backend's address and port; its replies come back through the node.
    Nat,
    /// The same, and a source address of the node's.
    Fullnat,
}

impl Mode {
    /// Whether packets get the backend's address and port.
    #[must_use]
    pub const fn translates(self) -> bool {
        matches!(self, Self::Nat | Self::Fullnat)
    }
}

/// Which flows of a service are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tracking {
    /// Those that a change of the backends could move, while it could.
    Adaptive,
    /// Every one.
    Full,
    /// None: a change moves the flows of the slots that change.
    Off,
}

/// What becomes of the flows of a backend that dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDown {
    /// They go to other backends, which reset them, so that clients begin anew at once.
    Reset,
    /// They stay, should the backend come back.
    Hold,
}

/// How many flows one source may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Thousandths of a flow a second: a rate of 1/m has no whole number of flows a second.
    pub per_second_milli: u64,
    /// Flows that can be saved up, at least 1.
    pub burst: u32,
}

/// A server behind a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Unique within the service.
    pub name: String,
    /// Unique within the service.
    pub address: IpAddr,
    /// Share of new flows relative to the other backends; 0 takes no traffic.
    pub weight: u16,
    /// The port that it listens at: the service's, unless a mode that translates says otherwise.
    pub port: u16,
    /// What its QUIC connection IDs say; unique within a service with `quic`, where every backend has one.
    pub server_id: Option<u16>,
}

/// A health check: the rule that probes follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// What one probe does.
    pub kind: CheckKind,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// A probe without a result after this long has failed; not longer than `interval`.
    pub timeout: Duration,
    /// Successes in a row that turn down into up; at least 1.
    pub rise: u32,
    /// Failures in a row that turn up into down; at least 1.
    pub fall: u32,
    /// Port to probe; `None` is the service's port.
    pub port: Option<u16>,
}

/// What one probe does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// Opens a TCP connection.
    Tcp,
    /// Sends `GET path` over HTTP/1.1 and wants a status from 200 to 399.
    Http {
        /// Begins with `/`.
        path: String,
        /// The `Host` header; `None` is the backend's address and port.
        host: Option<String>,
    },
}

/// The operator's wish for a backend, apart from its health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admin {
    /// Takes traffic when its health allows.
    #[default]
    Ready,
    /// Takes no new flows.
    Drain,
}

/// An address and how many of its leading bits are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Host bits are zero.
    pub address: IpAddr,
    /// 0 to 32 or 0 to 128.
    pub length_bits: u8,
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length_bits)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dsr => "dsr",
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::Nat => "nat",
            Self::Fullnat => "fullnat",
        })
    }
}

impl fmt::Display for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adaptive => "adaptive",
            Self::Full => "full",
            Self::Off => "off",
        })
    }
}

impl fmt::Display for OnDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "reset",
            Self::Hold => "hold",
        })
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
        })
    }
}
