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
    /// Whether ARP requests and neighbor solicitations for VIPs are answered in XDP.
    pub answer_neighbors: bool,
    /// Size of the flow table in flows; a power of two from 1024 to 16777216.
    pub max_flows: u32,
    /// Connections in mode fullnat at a time; 1024 to 4194304.
    pub max_nat_flows: u32,
    /// Fragmented packets remembered at a time; a power of two from 512 to 1048576.
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
    /// Where the outer source address of an encapsulated packet comes from, in the backends' family and in the modes `ipip`
    /// and `gue` only; `None` is the address of the egress interface.
    pub encap_source: Option<Prefix>,
    /// Destination port of the outer UDP header, in mode `gue`.
    pub gue_port: u16,
    /// Addresses of this node that stand in for the clients', in the backends' family: 1 to 64, none twice, in mode `fullnat`;
    /// empty in every other one.
    pub source_addresses: Vec<IpAddr>,
    /// Which flows are remembered.
    pub tracking: Tracking,
    /// A flow that has been silent this long counts as ended; whole seconds from 1 s to 8 h.
    pub idle_timeout: Duration,
    /// What happens to the flows of a backend that died.
    pub on_down: OnDown,
    /// The sources that may use the service, in the VIP's family, none twice; empty is everybody. The longest prefix of `allow`
    /// and `deny` that holds a source decides; a source that none holds is denied if `allow` has any.
    pub allow: Vec<Prefix>,
    /// The sources that may not, in the VIP's family, none twice and none of `allow`.
    pub deny: Vec<Prefix>,
    /// How fast one source may open connections; `None` is without a limit.
    pub rate_limit: Option<RateLimit>,
    /// Whether QUIC connections are followed by the server ID in their connection IDs: then every backend has a `server_id`, the
    /// protocol is UDP and the tracking full.
    pub quic: bool,
    /// How backends are checked; `None` takes every backend as up.
    pub check: Option<Check>,
    /// In the order of the file. In the modes `ipip` and `gue` all have addresses of one family, in the other ones of the VIP's.
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
    /// An outer IP header (RFC 2003, RFC 2473, RFC 4213); its family is the backend's, whatever the VIP's.
    Ipip,
    /// An outer IP and UDP header, the packet right behind them (Generic UDP Encapsulation, variant 1: draft-ietf-intarea-gue);
    /// the outer family is the backend's, whatever the VIP's.
    Gue,
    /// The destination becomes the backend's address and port; replies come back through this node, which is the backends'
    /// route to the clients.
    Nat,
    /// As `Nat`, and the source becomes an address and port of this node, so that replies come back by themselves.
    Fullnat,
}

impl Mode {
    /// Whether packets reach a backend at a port that may differ from the service's.
    #[must_use]
    pub const fn translates(self) -> bool {
        match self {
            Self::Nat | Self::Fullnat => true,
            Self::Dsr | Self::Ipip | Self::Gue => false,
        }
    }

    /// Whether packets get an outer header.
    #[must_use]
    pub const fn encapsulates(self) -> bool {
        match self {
            Self::Ipip | Self::Gue => true,
            Self::Dsr | Self::Nat | Self::Fullnat => false,
        }
    }
}

/// Which flows are remembered, so that they stay with their backend when the slots change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tracking {
    /// Those in slots that have changed within the idle timeout.
    Adaptive,
    /// All.
    Full,
    /// None.
    Off,
}

/// What happens to the flows of a backend that died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDown {
    /// They go to another backend, which resets them, and the clients connect again.
    Reset,
    /// They stay with it, in case it comes back.
    Hold,
}

/// How fast one source, an IPv4 address or an IPv6 /64, may open connections: a bucket of tokens, one for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How fast the bucket fills, in thousandths of a connection a second, so that one a minute (17) can be said as well as a
    /// million a second (1000000000); rounded to the nearest.
    pub per_second_milli: u64,
    /// What the bucket holds: connections that a source which was silent may open at once; 1 to 1000000.
    pub burst: u32,
}

/// A server behind a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Unique within the service.
    pub name: String,
    /// Unique within the service; in a mode that [translates](Mode::translates) only together with the port.
    pub address: IpAddr,
    /// Where it is served: the service's port, unless a mode that translates says otherwise.
    pub port: u16,
    /// What the connection IDs of a QUIC service call it, unique within the service; `None` in every other service.
    pub server_id: Option<u16>,
    /// Share of new flows relative to the other backends; 0 takes no traffic.
    pub weight: u16,
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
    /// Port to probe; `None` is the backend's port.
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
