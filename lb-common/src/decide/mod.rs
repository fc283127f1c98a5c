//! What happens to a packet: the steps that the kernel, the tests, the fuzzer and `xlb explain` all run.
//!
//! They read the frame and the tables and change neither. What they decide is entered into the tables by
//! [`commit`](crate::commit), written by [`rewrite`](crate::rewrite), and carried out by the shell around them, which
//! resizes the frame, counts and sends.
//!
//! [`plain`] decides about the common packet, and leaves every other one to [`any`], which finds out whose business it is
//! and goes on in [`vip`] or [`reply`]; [`decide`] is all of them behind each other. In the kernel each is a program,
//! which tail-calls the next: the first is short, and the others have the whole stack each.

mod any;
mod icmp;
mod neighbor;
mod plain;
mod quic;
mod track;

pub use any::{FRAGMENT_SECONDS, any, fragment_now, reply, vip};
pub use plain::{Done, plain};

use crate::abi::backend::{Backend, BackendId, Mode, backend_flags};
use crate::abi::connection::{Connection, LimitKey, ListKey, NO_TUPLE, ServerKey, Tuple};
use crate::abi::control::{Control, holds, mac_word};
use crate::abi::features::Features;
use crate::abi::flow::{FlowEntry, FlowSet};
use crate::abi::node::Node;
use crate::abi::service::ServiceTable;
use crate::abi::slot::Slot;
use crate::frame::{EthHdr, Frame};
use crate::parse::{MAX_L3_OFFSET, MAX_L4_OFFSET, Network};
use crate::reason::{AnswerKind, DropReason, PassReason};

/// The tables, as BPF maps or as the host's memory.
///
/// Lookups in arrays cost what an array access costs and return `None` out of range.
pub trait Tables {
    /// What the loaded program can do.
    fn features(&self) -> Features;
    /// Everything of fixed size.
    fn node(&self) -> Option<&Node>;
    /// A slot by its index in the whole array.
    fn slot(&self, index: u32) -> Option<Slot>;
    /// A set of remembered flows.
    fn flows(&self, set: u32) -> Option<&FlowSet>;
    /// A set of remembered fragments.
    fn fragments(&self, set: u32) -> Option<&FlowSet>;
    /// What the longest prefix of a list that covers a source says, one of [`list`](crate::abi::connection::list).
    fn listed(&self, key: &ListKey) -> Option<u32>;
    /// The backend that a QUIC connection ID names.
    fn server(&self, key: &ServerKey) -> Option<BackendId>;
    /// A connection of mode `fullnat`.
    fn connection(&self, key: &Tuple) -> Option<Connection>;
    /// The same number, as one that is not known beforehand: a verifier that knows a handful of values walks through all that
    /// follows once for each.
    fn opaque(&self, number: usize) -> usize;
    /// Microseconds since the machine was started.
    fn now_us(&self) -> u64;
    /// Index of the interface that the frame came in by.
    fn ingress(&self) -> u32;
}

/// The fate of a packet. It holds no references: in the kernel it is kept in a map.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To a backend.
    Forward(Forward),
    /// A backend's reply, back to the client with the service's address.
    Reply(Reply),
    /// Back to where it came from, as its own answer.
    Answer(Answer),
    /// On to the kernel's stack.
    Pass(PassReason),
    /// Nowhere.
    Drop(DropReason),
}

/// What is known of a packet while it is decided about, and what is decided. In the kernel it stands in a map: it is too large for
/// the stack, and a verifier that knows what has been put there walks through all that follows once for every case.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Its IP header.
    pub network: Network,
    /// Its fate.
    pub decision: Decision,
    /// In mode `fullnat`, what the packet says, which [`commit`](crate::commit) reads.
    pub key: Tuple,
    /// What it is to say, which `commit` finds.
    pub out: Tuple,
}

impl Work {
    /// Nothing known yet.
    pub const NEW: Self = Self {
        network: Network::NONE,
        decision: Decision::Pass(PassReason::NotConfigured),
        key: NO_TUPLE,
        out: NO_TUPLE,
    };
}

/// What is to be done about a packet, in one number.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// It is to a VIP, and to be looked at by [`vip`].
    Vip,
    /// It can be a backend's reply, and is to be looked at by [`reply`].
    Reply,
    /// It leaves by a network interface.
    Send,
    /// It is the stack's, or nobody's.
    Leave,
}

impl Decision {
    /// What is to be done.
    #[inline(always)]
    pub const fn course(&self) -> Course {
        match self {
            Self::Forward(_) | Self::Reply(_) | Self::Answer(_) => Course::Send,
            Self::Pass(_) | Self::Drop(_) => Course::Leave,
        }
    }
}

/// Everything that entering, rewriting and sending needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// First slot of the service that it belongs to; 0 for a later fragment, of which only the backend is known.
    pub slots_base: u32,
    /// The backend: what is written, and whose counter the packet goes to.
    pub id: BackendId,
    /// How it is written: [`Backend::mode`], read.
    pub mode: Mode,
    /// What the packet is.
    pub packet: Packet,
    /// What to remember of the flow.
    pub memory: Memory,
    /// What is to be entered besides; never set for a plain packet.
    pub entries: Entries,
}

/// What is known of a packet once it is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Whether it is IPv4, else IPv6.
    pub is_v4: bool,
    /// Where the IP header begins, in bytes: 14, 18 or 22.
    pub l3_offset: usize,
    /// Where the transport header begins, in bytes.
    pub l4_offset: usize,
    /// Length of the IP packet, in bytes.
    pub length_bytes: u16,
    /// Type of service, or traffic class, of the packet.
    pub traffic_class: u8,
    /// IP protocol number of what is at `l4_offset`.
    pub protocol: u8,
    /// What is at `l4_offset`.
    pub part: Part,
    /// Hash of the flow.
    pub flow_hash: u64,
    /// Whether the flow begins with it, as far as that can be known.
    pub begins: bool,
}

impl Packet {
    /// [`Self::l3_offset`]. The mask says nothing new: a decision is read back from a map, and the verifier then knows nothing of
    /// what is in it.
    #[inline(always)]
    #[must_use]
    pub const fn l3(&self) -> usize {
        self.l3_offset & MAX_L3_OFFSET
    }

    /// [`Self::l4_offset`], as [`Self::l3`].
    #[inline(always)]
    #[must_use]
    pub const fn l4(&self) -> usize {
        self.l4_offset & MAX_L4_OFFSET
    }
}

/// What stands behind the IP header of a packet that is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A TCP or UDP header.
    Transport {
        /// Whether it is UDP without a checksum.
        without_checksum: bool,
        /// Whether the packet is whole, else the first fragment of a larger one.
        whole: bool,
    },
    /// What a later fragment carries.
    LaterFragment,
    /// An ICMP error, and in it the head of a packet of the flow.
    Quoted,
}

/// What the flow table is to be told. A structure, not an enum with values: the verifier does not let values that are not there
/// be copied along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Which of these.
    pub task: Task,
    /// The set of the flow.
    pub set: u32,
    /// What stands there, if it was seen.
    pub old: FlowEntry,
    /// What is to stand there.
    pub new: FlowEntry,
    /// Whether a flow that has not got past its SYN may make room for one that is to be remembered.
    pub evict: bool,
    /// Where the packet goes when there is no room: a flow that is not remembered is taken for an old one.
    pub otherwise: Option<BackendId>,
}

/// What is to be done in the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Nothing.
    Nothing,
    /// A known flow was seen.
    Seen,
    /// A flow is to be remembered.
    Remember,
}

impl Memory {
    /// Nothing to be told.
    pub const NOTHING: Self = Self {
        task: Task::Nothing,
        set: 0,
        old: FlowEntry::VACANT,
        new: FlowEntry::VACANT,
        evict: false,
        otherwise: None,
    };
}

/// What is to be entered besides a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    /// Hash of the fragmented packet that this is the first fragment of.
    pub fragment: Option<u64>,
    /// Whose new flow this is, where they are limited.
    pub limit: Option<Limit>,
    /// Whether a QUIC connection ID has told the backend.
    pub by_connection_id: bool,
}

impl Entries {
    /// Nothing.
    pub const NONE: Self = Self { fragment: None, limit: None, by_connection_id: false };
}

/// A limit of new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whose.
    pub key: LimitKey,
    /// A flow is earned in this time, in microseconds.
    pub interval_us: u32,
    /// Flows that can be saved up.
    pub burst: u32,
}

/// A reply, and what it is to say instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The backend that has sent it; `None` in mode `fullnat`, where [`commit`](crate::commit) looks for its connection.
    pub id: Option<BackendId>,
    /// What the packet is.
    pub packet: Packet,
    /// What it is to say; in mode `fullnat` `commit` finds it.
    pub change: Change,
    /// Where it goes then.
    pub destination: End,
}

/// Other addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Source, if it changes.
    pub source: Option<End>,
    /// Destination, if it changes.
    pub destination: Option<End>,
}

/// One end of a flow: wire bytes, an IPv4 address in the first four. Aligned as [`Tuple`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(8))]
pub struct End {
    /// Address.
    pub address: [u8; 16],
    /// Port; of a later fragment nothing that means anything.
    pub port: [u8; 2],
}

impl End {
    /// Nobody's.
    pub const NONE: Self = Self { address: [0; 16], port: [0; 2] };
}

/// What a packet is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// ARP request: our MAC.
    Arp {
        /// Where the ARP packet begins, in bytes.
        l3_offset: usize,
        /// Our MAC, as [`mac_word`] makes it.
        mac: u64,
    },
    /// Neighbor solicitation: our MAC.
    Neighbor {
        /// Where the IP header begins, in bytes.
        l3_offset: usize,
        /// Our MAC, as [`mac_word`] makes it.
        mac: u64,
    },
    /// ICMP echo request: the same as a reply.
    Echo {
        /// Where the IP header begins, in bytes.
        l3_offset: usize,
        /// Where the ICMP header begins, in bytes.
        l4_offset: usize,
        /// Whether it is IPv4, else IPv6.
        is_v4: bool,
    },
    /// Too large a packet: how large it may be.
    TooBig {
        /// Where the IP header begins, in bytes.
        l3_offset: usize,
        /// Whether it is IPv4, else IPv6.
        is_v4: bool,
        /// Largest packet that fits, in bytes.
        mtu_bytes: u16,
    },
}

impl Answer {
    /// As it is counted.
    #[inline(always)]
    #[must_use]
    pub const fn kind(&self) -> AnswerKind {
        match self {
            Self::Arp { .. } => AnswerKind::Arp,
            Self::Neighbor { .. } => AnswerKind::Neighbor,
            Self::Echo { .. } => AnswerKind::Echo,
            Self::TooBig { .. } => AnswerKind::TooBig,
        }
    }
}

/// The tables as one packet sees them: one state of the services from its first lookup to its last.
pub struct View<'t, T> {
    /// The tables.
    pub tables: &'t T,
    /// Everything of fixed size.
    pub node: &'t Node,
    /// The services in effect.
    pub services: &'t ServiceTable,
}

impl<'t, T: Tables> View<'t, T> {
    /// `None` while nobody has filled the tables.
    #[inline(always)]
    #[must_use]
    pub fn of(tables: &'t T) -> Option<Self> {
        let node = tables.node()?;
        // The mask is what the verifier needs to see that the half exists.
        Some(Self { tables, node, services: &node.services[(node.control.active_half & 1) as usize] })
    }

    /// The entry of a backend that is not dead.
    #[inline(always)]
    #[must_use]
    pub fn is_alive(&self, id: BackendId) -> bool {
        self.node.backends[id.index()].flags & backend_flags::DOWN == 0
    }

    /// Whether the loaded program can do this.
    #[inline(always)]
    #[must_use]
    pub fn can(&self, feature: Features) -> bool {
        self.tables.features().has(feature)
    }
}

/// Decides about one frame.
pub fn decide<T: Tables>(frame: &Frame<'_>, tables: &T) -> Work {
    let mut work = Work::NEW;
    match plain(frame, tables, Decided) {
        Some(decision) => work.decision = decision,
        None => {
            let _ = match any(frame, tables, &mut work) {
                Course::Vip => vip(frame, tables, &mut work),
                Course::Reply => reply(frame, tables, &mut work),
                course @ (Course::Send | Course::Leave) => course,
            };
        }
    }
    work
}

/// Does nothing but tell the decision.
struct Decided;

impl Done<'_> for Decided {
    type Result = Decision;

    fn forward(self, forward: Forward, _backend: &Backend) -> Decision {
        Decision::Forward(forward)
    }

    fn pass(self, reason: PassReason) -> Decision {
        Decision::Pass(reason)
    }
}

/// Whose a frame is by its destination MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addressee {
    Node,
    Group,
    Stranger,
}

#[inline(always)]
fn addressee(control: &Control, eth: &EthHdr) -> Addressee {
    if holds(&control.macs, mac_word(eth.dst_low, eth.dst_high)) {
        return Addressee::Node;
    }
    // The group bit is the first on the wire (IEEE 802).
    if eth.dst_low[0] & 1 != 0 { Addressee::Group } else { Addressee::Stranger }
}

/// The mode of a backend's entry, as far as the loaded program can do it.
#[inline(always)]
fn mode_of(backend: &Backend, features: Features) -> Option<Mode> {
    let mode = Mode::from_u8(backend.mode)?;
    features.has(Features::of_mode(mode)).then_some(mode)
}
