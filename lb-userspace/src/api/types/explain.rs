//! What becomes of one packet, and why: the question and the answer of `xlb explain`.

use serde::{Deserialize, Serialize};

use super::{Admin, BackendHealth};
use crate::model::{Mode, Protocol};

/// The body of `POST /v1/explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Where the packet comes in; the first attached interface when it is not given.
    #[serde(default)]
    pub interface: Option<String>,
    /// The packet.
    pub packet: Asked,
}

/// A packet that is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// One that the daemon makes.
    Header(Header),
    /// A whole frame in hexadecimal, from the Ethernet header on.
    Frame(String),
}

/// What a packet is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// As `198.51.100.7:40000` or `[2001:db8::1]:40000`; for ICMP without a port.
    pub from: String,
    /// The same.
    pub to: String,
    /// Transport protocol.
    #[serde(default)]
    pub protocol: Transport,
    /// Whether a TCP packet begins a connection; else it has the flag ACK alone.
    #[serde(default)]
    pub syn: bool,
}

/// What a packet can be made as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A segment without data.
    #[default]
    Tcp,
    /// A datagram.
    Udp,
    /// An echo request; ICMPv6 between IPv6 addresses.
    Icmp,
}

/// The chain of one packet. What it did not get to is `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// [`VERSION`](super::VERSION).
    pub version: u32,
    /// What it says.
    pub packet: Packet,
    /// The service that it is to.
    pub service: Option<ServiceHit>,
    /// What the service's list of sources says; `null` where none was looked at.
    pub list: Option<ListHit>,
    /// Its slot.
    pub slot: Option<SlotHit>,
    /// What the flow table says; `null` where it was not looked at.
    pub flow: Option<FlowHit>,
    /// The backend, and what named it.
    pub backend: Option<BackendHit>,
    /// How it leaves.
    pub rewrite: Option<Rewrite>,
    /// By which way.
    pub egress: Option<Egress>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Whether the loaded program does the same.
    pub confirmation: Confirmation,
}

/// The packet itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// Where it comes in.
    pub interface: String,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `arp`, or what else it is.
    pub protocol: String,
    /// Address and port.
    pub from: Option<String>,
    /// Address and port.
    pub to: Option<String>,
    /// Of `syn`, `fin`, `rst` and `ack` those that are set.
    pub flags: Vec<String>,
    /// Its part in a fragmented packet.
    pub fragment: Option<Fragment>,
    /// Where the frame is addressed to.
    pub destination_mac: String,
    /// Length of the frame, in bytes.
    pub length_bytes: usize,
}

/// A packet's part in a fragmented one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fragment {
    /// The one with the ports.
    First,
    /// Any other.
    Later,
}

/// The service of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHit {
    /// Its name.
    pub name: String,
    /// The VIP.
    pub address: String,
    /// 1 to 65535.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// How packets reach the backends.
    pub mode: Mode,
}

/// What a list says of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListHit {
    /// Whether it is let in.
    pub allowed: bool,
    /// The longest prefix that covers it; `null` when none does.
    pub prefix: Option<String>,
}

/// The slot of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotHit {
    /// From 0.
    pub number: u32,
    /// How many the service has.
    pub of: u32,
    /// Whether flows are told apart there.
    pub tracked: bool,
    /// Name of the backend of new flows.
    pub current: Option<String>,
    /// Name of the backend of flows older than the last change.
    pub owner: Option<String>,
}

/// What is remembered of a packet's flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowHit {
    /// Name of the backend that is remembered; `null` when the flow is not.
    pub remembered: Option<String>,
    /// Seconds since its last packet.
    pub idle_seconds: Option<u16>,
    /// Whether that backend is dead, so that the flow counts as unknown.
    pub dead: bool,
    /// Whether the packet would have its flow remembered.
    pub enters: bool,
}

/// The backend of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendHit {
    /// Name of its service.
    pub service: String,
    /// Its name in the service.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The port that it listens at.
    pub port: u16,
    /// What the checks say.
    pub health: BackendHealth,
    /// What the operator wishes.
    pub admin: Admin,
    /// 0 to 1000.
    pub weight: u16,
    /// Whether it is deleted, and goes when its last flow has ended.
    pub leaving: bool,
    /// What named it.
    pub by: NamedBy,
}

/// What names a packet's backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedBy {
    /// The slot's current backend.
    Current,
    /// The slot's owner: the flow is older than the last change.
    Owner,
    /// The flow is remembered.
    Flow,
    /// The first fragment went there.
    Fragment,
    /// Its connection is known (mode `fullnat`).
    Connection,
    /// Its QUIC connection ID.
    ConnectionId,
    /// It is that backend's reply.
    Reply,
}

/// How a packet leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// Of the frame.
    pub source_mac: String,
    /// Of the frame.
    pub destination_mac: String,
    /// Of the outermost IP header: `ipip`, `udp` around a packet in mode `gue`, else the packet's own.
    pub protocol: String,
    /// Address and port there.
    pub from: Option<String>,
    /// Address and port there.
    pub to: Option<String>,
    /// Whether an outer header is around it.
    pub outer: bool,
}

/// The way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// The interface.
    pub interface: String,
    /// How it gets there.
    pub way: Way,
}

/// How a packet gets to its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Back out of where it came in (`XDP_TX`).
    Tx,
    /// Out of another interface (`XDP_REDIRECT`).
    Redirect,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// In a word.
    pub fate: Fate,
    /// Why, by the name of its counter; `null` for what goes to a backend or back to a client.
    pub reason: Option<String>,
}

/// What becomes of a packet, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// To a backend.
    Forwarded,
    /// As a backend's reply to the client.
    Replied,
    /// Answered at once.
    Answered,
    /// To the kernel's network stack.
    Passed,
    /// Nowhere.
    Dropped,
}

/// What the loaded program does with the same packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Whether it is the same.
    pub result: Confirmed,
    /// What it does instead, or why it was not run.
    pub detail: Option<String>,
}

/// Whether the loaded program agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmed {
    /// Action, counter and every byte are the same.
    Same,
    /// They are not: a defect.
    Different,
    /// The program could not be run.
    NotRun,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{}: {reason}", self.fate),
            None => write!(f, "{}", self.fate),
        }
    }
}
