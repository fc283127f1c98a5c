//! What is said over the API: the JSON of its answers and requests, shared by server, client and CLI.
//!
//! Every answer is an object with `version` first; a field may be added without a new version, none is renamed or
//! removed. Counters count since the backend or reason exists in the data plane.

mod capture;
mod explain;

use serde::{Deserialize, Serialize};

pub use self::capture::{Captured, Captures, Seen, Wanted};
pub use self::explain::{
    Asked, BackendHit, Confirmation, Confirmed, Egress, Explanation, Fate, FlowHit, Fragment, Header,
    ListHit, NamedBy, Packet, Question, Rewrite, ServiceHit, SlotHit, Transport, Verdict, Way,
};
pub use crate::config::NewBackend;
pub use crate::health::Health;
use crate::model;
pub use crate::model::Admin;

/// The version of everything below.
pub const VERSION: u32 = 1;

/// The node as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// The node's name.
    pub node: String,
    /// Version of the daemon.
    pub xlb_version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Since the daemon started.
    pub uptime_seconds: u64,
    /// Where the program is attached.
    pub interfaces: Vec<Interface>,
    /// Number of services.
    pub services: u32,
    /// Number of backends, over all services.
    pub backends: u32,
    /// How many of them take new flows now.
    pub backends_serving: u32,
    /// Slots that the tables of all services have together.
    pub slots_used: u32,
    /// Slots that they may have.
    pub slots_max: u32,
    /// The tables that remember something.
    pub memory: Memory,
    /// What somebody should look at: a table that is full, or nearly; empty when all is well.
    pub alarms: Vec<String>,
    /// Every reason that the data plane counts, also those at zero.
    pub reasons: Vec<Reason>,
}

/// An interface the program is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// As in `ip link`.
    pub name: String,
    /// As in `ip link`.
    pub index: u32,
    /// As in `02:00:00:00:00:01`.
    pub mac: String,
    /// How it is attached.
    pub xdp: Xdp,
}

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Xdp {
    /// In the driver.
    Native,
    /// In the network stack, slower.
    Generic,
}

/// The tables that remember something, and how full they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Flows that are remembered now.
    pub flows: u64,
    /// Flows that there is room for.
    pub flows_max: u64,
    /// Flows remembered since the start.
    pub flows_inserted: u64,
    /// Of those, flows that took the place of one that had not got past its SYN.
    pub flows_evicted: u64,
    /// Flows that found no room.
    pub flows_refused: u64,
    /// Fragmented packets remembered since the start.
    pub fragments_inserted: u64,
    /// Fragmented packets that found no room: their later fragments were dropped.
    pub fragments_refused: u64,
    /// Connections of mode `fullnat` now.
    pub connections: u64,
    /// Connections that there is room for.
    pub connections_max: u64,
    /// Connections begun since the start.
    pub connections_inserted: u64,
    /// Connections that found no room, or no source port.
    pub connections_refused: u64,
    /// Replies of nat backends sent to clients.
    pub replies: u64,
    /// QUIC packets that went where their connection ID says.
    pub quic_routed: u64,
}

/// How many packets met one fate that is not forwarding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What happened to them.
    pub action: Action,
    /// Why, in a few words.
    pub reason: String,
    /// How many.
    pub packets: u64,
    /// Their length on the wire without frame check sequence.
    pub bytes: u64,
}

/// What happened to a packet that was not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Given to the kernel's network stack.
    Pass,
    /// Thrown away.
    Drop,
    /// Answered at once.
    Answer,
}

/// All services, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// [`VERSION`].
    pub version: u32,
    /// In the order of the file.
    pub services: Vec<Service>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Unique on the node.
    pub name: String,
    /// The VIP.
    pub address: String,
    /// 1 to 65535.
    pub port: u16,
    /// Transport protocol.
    pub protocol: model::Protocol,
    /// How packets reach the backends.
    pub mode: model::Mode,
    /// Which flows are remembered.
    pub tracking: model::Tracking,
    /// Slots in which flows are told apart now, because the backends have changed.
    pub slots_tracked: u32,
    /// Flows that are remembered.
    pub flows: u64,
    /// Size of its Maglev table.
    pub slots: u32,
    /// Number of its backends.
    pub backends: u32,
    /// How many of them take new flows now.
    pub backends_serving: u32,
    /// Forwarded.
    pub packets: u64,
    /// Forwarded, as received.
    pub bytes: u64,
}

/// The backends of one service or of all, in the order of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backends {
    /// [`VERSION`].
    pub version: u32,
    /// In the order of the file, service by service.
    pub backends: Vec<Backend>,
}

/// One backend of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// Name of the service.
    pub service: String,
    /// Unique within the service.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The port that it listens at.
    pub port: u16,
    /// Whether it is deleted, and goes when its last flow has ended.
    pub leaving: bool,
    /// Flows that are remembered to be there.
    pub flows: u64,
    /// 0 to 1000.
    pub weight: u16,
    /// What the checks say.
    pub health: BackendHealth,
    /// What the operator wishes.
    pub admin: Admin,
    /// Whether its next hop is known.
    pub neighbor: Neighbor,
    /// Where its packets go, as in `02:00:00:00:00:01 via eth0`.
    pub next_hop: Option<String>,
    /// Whether it takes new flows now.
    pub serving: bool,
    /// Its slots in the Maglev table.
    pub slots: u32,
    /// Its part of the table, 0 to 1.
    pub share: f64,
    /// Forwarded to it.
    pub packets: u64,
    /// Forwarded to it, as received.
    pub bytes: u64,
    /// Flows begun there.
    pub new_flows: u64,
    /// What the last check met, or why it takes no traffic.
    pub detail: String,
}

/// What the checks say of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendHealth {
    /// Fit.
    Up,
    /// Not fit.
    Down,
    /// No probe has ended yet.
    Unknown,
    /// Its service has no check: taken as fit.
    Unchecked,
}

impl From<Health> for BackendHealth {
    fn from(health: Health) -> Self {
        match health {
            Health::Up => Self::Up,
            Health::Down => Self::Down,
            Health::Unknown => Self::Unknown,
        }
    }
}

/// Whether the next hop towards a backend has a MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Neighbor {
    /// It has.
    Resolved,
    /// It has not: the backend cannot be reached.
    Unresolved,
}

/// The body of `PUT .../admin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAdmin {
    /// The operator's wish.
    pub admin: Admin,
}

/// The answer to a change that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// [`VERSION`].
    pub version: u32,
}

/// The answer to a request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// One sentence.
    pub error: String,
}

macro_rules! words {
    ($($type:ident { $($variant:ident => $word:literal),+ })+) => {$(
        impl std::fmt::Display for $type {
            /// The word that JSON has.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $(Self::$variant => $word),+ })
            }
        }
    )+};
}

words! {
    Xdp { Native => "native", Generic => "generic" }
    Action { Pass => "pass", Drop => "drop", Answer => "answer" }
    BackendHealth { Up => "up", Down => "down", Unknown => "unknown", Unchecked => "unchecked" }
    Fate {
        Forwarded => "forwarded",
        Replied => "replied",
        Answered => "answered",
        Passed => "passed",
        Dropped => "dropped"
    }
    Neighbor { Resolved => "resolved", Unresolved => "unresolved" }
}
