//! Captured packets: what is wanted, and what came.

use serde::{Deserialize, Serialize};

/// The body of `POST /v1/capture`. What is not given wants every packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Packets to this service, by its name.
    #[serde(default)]
    pub service: Option<String>,
    /// Packets from this network, as `198.51.100.0/24`, or from one address.
    #[serde(default)]
    pub from: Option<String>,
    /// Packets that this became of: the name of a reason to pass, to drop or to answer.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What was captured since the last time that somebody asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captures {
    /// [`VERSION`](super::VERSION).
    pub version: u32,
    /// The packets, in the order of each CPU.
    pub packets: Vec<Captured>,
    /// Packets that were wanted and lost since the capture began: there were too many.
    pub lost: u64,
}

/// One captured packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// When it came, in nanoseconds since 1970; of the precision of a clock tick.
    pub at_ns: u64,
    /// What became of it, as `forwarded to web/web1 (dsr), slot 17 settled`.
    pub fate: String,
    /// As it came.
    pub before: Seen,
    /// As it left; `null` if it did not leave by a network interface.
    pub after: Option<Seen>,
}

/// A frame at an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The interface.
    pub interface: String,
    /// How long the frame is, in bytes.
    pub length_bytes: u32,
    /// Its first bytes, in hexadecimal.
    pub frame: String,
}
