//! The layout of the tables that kernel and userspace share.
//!
//! Every type is `repr(C)`, a bytemuck `Pod` with its padding spelled out, and its size is asserted. A change to any of
//! them, or to what a value means, goes with a new [`ABI_VERSION`]. Integers in tables are in the machine's own byte
//! order unless a field is named as wire bytes; enums exist only outside the tables.

pub mod backend;
pub mod capture;
pub mod connection;
pub mod control;
pub mod counters;
pub mod decap;
pub mod features;
pub mod flow;
pub mod node;
pub mod service;
pub mod slot;

/// Version of everything in this module, for whoever finds tables that another build has filled.
pub const ABI_VERSION: u32 = 2;

/// Places of the programs that others go on in.
pub mod program {
    use super::features::Features;

    /// Finds out whose business any packet is.
    pub const ANY: u32 = 0;
    /// Decides about a packet to a VIP.
    pub const VIP: u32 = 1;
    /// Decides about what may be a reply.
    pub const REPLY: u32 = 2;
    /// Enters what was decided into the tables.
    pub const ENTER: u32 = 3;
    /// Does what was decided.
    pub const SEND: u32 = 4;
    /// Finds the connection of a packet in mode `fullnat`.
    pub const JOIN: u32 = 5;
    /// Sends a packet back as its own answer.
    pub const ANSWER: u32 = 6;
    /// Keeps a packet as it came in, for a capture.
    pub const CAPTURE: u32 = 7;
    /// Their names, in this order, and the features of which any needs them; those without features are always needed.
    pub const ALL: [(&str, Features); 8] = [
        ("xlb_any", Features::NONE),
        ("xlb_vip", Features::NONE),
        ("xlb_reply", Features::REPLIES),
        ("xlb_enter", Features::NONE),
        ("xlb_send", Features::NONE),
        ("xlb_join", Features::FULLNAT),
        ("xlb_answer", Features::NONE),
        ("xlb_capture", Features::CAPTURE),
    ];

    /// Those that a program with these features goes on in, and their places.
    pub fn needed(features: Features) -> impl Iterator<Item = (u32, &'static str)> {
        let is_needed = move |of: Features| of.0 == 0 || features.has_any(of);
        (0..).zip(ALL).filter(move |(_, (_, of))| is_needed(*of)).map(|(place, (name, _))| (place, name))
    }
}

/// Names of the maps in the BPF object.
pub mod map {
    /// [`Node`](super::node::Node), one entry.
    pub const NODE: &str = "NODE";
    /// [`SlotLine`](super::slot::SlotLine)s; the number of entries is chosen at load.
    pub const SLOTS: &str = "SLOTS";
    /// [`Counter`](super::counters::Counter)s per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// [`FlowSet`](super::flow::FlowSet)s of remembered flows; the number of entries is chosen at load.
    pub const FLOWS: &str = "FLOWS";
    /// [`FlowSet`](super::flow::FlowSet)s of fragmented packets; the number of entries is chosen at load.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// [`Connection`](super::connection::Connection)s by [`Tuple`](super::connection::Tuple); the number of entries is chosen
    /// at load.
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// What lists say, by [`ListKey`](super::connection::ListKey).
    pub const LISTS: &str = "LISTS";
    /// Saved new flows of a source, by [`LimitKey`](super::connection::LimitKey).
    pub const LIMITS: &str = "LIMITS";
    /// Backend ids by [`ServerKey`](super::connection::ServerKey).
    pub const SERVERS: &str = "SERVERS";
    /// The programs that the first goes on in, at the places of [`program`](super::program).
    pub const PROGRAMS: &str = "PROGRAMS";
    /// Captured packets, a ring.
    pub const CAPTURES: &str = "CAPTURES";
    /// Index of the counter that a dry run would have moved, plus one; one entry per CPU.
    pub const FATE: &str = "FATE";
    /// Those that a program finds as another program over the same tables has left them.
    pub const SHARED: [&str; 9] =
        [NODE, SLOTS, COUNTERS, FLOWS, FRAGMENTS, CONNECTIONS, LISTS, LIMITS, SERVERS];
}
