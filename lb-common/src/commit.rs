//! What a decision enters into the tables: flows, fragments, connections, and what sources have used up.
//!
//! Between [`decide`](crate::decide), which only reads, and [`rewrite`](crate::rewrite), which only writes the frame. What
//! cannot be entered may change the decision: a flow that finds no room goes where unknown flows go, a connection that
//! finds no port is dropped.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::abi::backend::{BackendId, Mode};
use crate::abi::connection::{Connection, LimitKey, Tuple, seen};
use crate::abi::features::Features;
use crate::abi::flow::{FlowEntry, set_of};
use crate::abi::node::{MAX_SOURCES, Node};
use crate::decide::{
    Answer, Course, Decision, End, FRAGMENT_SECONDS, Forward, Limit, Memory, Packet, Part, Tables, Task,
    View, Work, fragment_now,
};
use crate::frame::Frame;
use crate::hash::{mix, slot_of};
use crate::parse::{IPV6_LEN, protocol, tcp_flags};
use crate::reason::{DropReason, Event, PassReason};

/// What came of entering a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It is there.
    Yes,
    /// Somebody else is.
    Taken,
    /// There is no room.
    Full,
}

/// Tables that can be written.
pub trait State: Tables {
    /// Replaces an entry of the flow table, if it is still `old`.
    fn swap_flow(&self, set: u32, way: u32, old: FlowEntry, new: FlowEntry) -> bool;
    /// The same in the table of fragments.
    fn swap_fragment(&self, set: u32, way: u32, old: FlowEntry, new: FlowEntry) -> bool;
    /// When a source has earned back what it has used, in microseconds since the machine was started.
    fn earned_us(&self, key: &LimitKey) -> Option<u64>;
    /// Sets that.
    fn set_earned_us(&self, key: &LimitKey, at_us: u64);
    /// Enters one side of a connection.
    fn enter(&self, key: &Tuple, connection: &Connection) -> Entered;
    /// Tells that a packet of a connection was seen.
    fn renew(&self, key: &Tuple, last_seen: u32, seen: u8);
    /// Takes one side of a connection out again.
    fn leave(&self, key: &Tuple);
    /// Counts an event.
    fn count_event(&self, event: Event);
}

/// Tells the flow table that a packet of a known flow was seen.
#[inline(always)]
pub fn see<S: State>(state: &S, memory: &Memory) {
    if memory.task == Task::Seen {
        let _ = renew_flow(state, memory.set, memory.old, memory.new);
    }
}

/// Should the entry have changed meanwhile, somebody else has seen the flow.
#[inline(never)]
fn renew_flow<S: State>(state: &S, set: u32, old: FlowEntry, new: FlowEntry) -> bool {
    let Some(entries) = state.flows(set) else { return false };
    for (way, entry) in (0..).zip(&entries.0) {
        if *entry == old {
            return state.swap_flow(set, way, old, new);
        }
    }
    false
}

/// Enters a flow.
#[inline(always)]
fn commit_flow<S: State>(state: &S, forward: &mut Forward) {
    let memory = &forward.memory;
    match memory.task {
        Task::Nothing => {}
        Task::Seen => see(state, memory),
        Task::Remember => {
            let is_remembered = remember(state, memory.set, memory.new, memory.evict);
            if !is_remembered
                && memory.evict
                && let Some(id) = memory.otherwise
                && let Some(node) = state.node()
            {
                // Another backend of the same service, in the same mode unless it is being replaced.
                if node.backends[id.index()].mode == forward.mode as u8 {
                    forward.id = id;
                }
            }
        }
    }
}

/// Whether a packet is of mode `fullnat`, and [`join`] has to find its connection before [`commit`].
#[inline(always)]
#[must_use]
pub const fn has_connection(work: &Work) -> bool {
    match &work.decision {
        Decision::Forward(forward) => matches!(forward.mode, Mode::Fullnat),
        Decision::Reply(reply) => reply.id.is_none(),
        Decision::Answer(_) | Decision::Pass(_) | Decision::Drop(_) => false,
    }
}

/// Finds the connection of a packet in mode `fullnat`, or opens one.
#[inline(always)]
pub fn join<S: State>(state: &S, frame: &Frame<'_>, work: &mut Work) -> Course {
    let packet = match &work.decision {
        Decision::Forward(forward) => &forward.packet,
        Decision::Reply(reply) => &reply.packet,
        Decision::Answer(_) | Decision::Pass(_) | Decision::Drop(_) => return work.decision.course(),
    };
    let flags = key_of(frame, packet, &mut work.key);
    match (&work.decision, flags) {
        (Decision::Reply(_), Some(flags)) => return answer_connection(state, work, flags),
        (Decision::Reply(_), None) => work.decision = Decision::Pass(PassReason::NotVip),
        (_, Some(flags)) => {
            let refused = match connect(state, work, flags) {
                Connected::Yes => return Course::Send,
                Connected::Unknown => DropReason::UnknownConnection,
                Connected::Limited => DropReason::RateLimited,
                Connected::NoPort => DropReason::NoSourcePort,
                Connected::Full => DropReason::ConnectionTableFull,
            };
            work.decision = Decision::Drop(refused);
        }
        (_, None) => work.decision = Decision::Drop(DropReason::UnknownConnection),
    }
    work.decision.course()
}

/// Enters what a decision asks for, which may change it.
#[inline(always)]
pub fn commit<S: State>(state: &S, work: &mut Work) -> Course {
    match &work.decision {
        Decision::Forward(_) => enter(state, &mut work.decision),
        Decision::Reply(reply) if state.features().has_any(Features::REPLIES) => {
            // The first fragment of a reply has left its hash.
            if let (Some(id), true) = (reply.id, reply.packet.flow_hash != 0) {
                let _ = enter_fragment(state, reply.packet.flow_hash, id);
            }
        }
        Decision::Answer(Answer::TooBig { .. }) => {
            if is_limited(state, &ANSWERS) {
                work.decision = Decision::Drop(DropReason::ExceedsMtu);
            }
        }
        Decision::Reply(_) | Decision::Answer(_) | Decision::Pass(_) | Decision::Drop(_) => {}
    }
    work.decision.course()
}

/// The limit of the node's own answers, under a number that no service has.
/// A thousand ICMP errors a second, fifty at once, as the kernel sends them (net.ipv4.icmp_msgs_per_sec).
const ANSWERS: Limit = Limit { key: LimitKey { service: 0, source: [0; 8] }, interval_us: 1000, burst: 50 };

#[inline(always)]
fn enter<S: State>(state: &S, decision: &mut Decision) {
    let Decision::Forward(forward) = decision else { return };
    let features = state.features();
    // A connection has been counted where it was opened.
    if features.has(Features::LIMITS)
        && let Some(limit) = &forward.entries.limit
        && forward.mode != Mode::Fullnat
        && is_limited(state, limit)
    {
        *decision = Decision::Drop(DropReason::RateLimited);
        return;
    }
    if features.has(Features::TRACKING) {
        commit_flow(state, forward);
    }
    if features.has(Features::QUIC) && forward.entries.by_connection_id {
        state.count_event(Event::QuicRouted);
    }
    if let Some(hash) = forward.entries.fragment {
        let _ = enter_fragment(state, hash, forward.id);
    }
}

/// Finds the connection that a reply in mode `fullnat` belongs to; without one it is the stack's.
#[inline(never)]
fn answer_connection<S: State>(state: &S, work: &mut Work, flags: u8) -> Course {
    let Decision::Reply(reply) = &mut work.decision else { return Course::Leave };
    let Some(known) = state.connection(&work.key).filter(|known| known.reply != 0) else {
        work.decision = Decision::Pass(PassReason::NotVip);
        return Course::Leave;
    };
    renew(state, &work.key, flags);
    let [a, b, c, d] = known.out.ports;
    reply.change.source = Some(End { address: known.out.source, port: [a, b] });
    reply.destination = End { address: known.out.destination, port: [c, d] };
    reply.change.destination = Some(reply.destination);
    Course::Send
}

/// What came of looking for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connected {
    Yes,
    Unknown,
    Limited,
    NoPort,
    Full,
}

#[inline(never)]
fn connect<S: State>(state: &S, work: &mut Work, flags: u8) -> Connected {
    let Work { decision: Decision::Forward(forward), key, out, .. } = work else { return Connected::Unknown };
    let Some(view) = View::of(state) else { return Connected::Unknown };
    if forward.packet.part == Part::LaterFragment {
        // Its ports are in the first one; the addresses are all that it has to change.
        let translation = view.node.backends[forward.id.index()].translation();
        *out = *key;
        out.source = source_of(view.node, translation.pool, key);
        out.destination = translation.address;
        return Connected::Yes;
    }
    if let Some(known) = state.connection(key)
        && let Some(id) = BackendId::new(known.backend)
        && view.is_alive(id)
    {
        forward.id = id;
        *out = known.out;
        forward.packet.begins = false;
        // The flags of a quoted packet say nothing about the connection now.
        if forward.packet.part != Part::Quoted {
            renew(state, key, flags);
        }
        return Connected::Yes;
    }
    if !forward.packet.begins {
        return Connected::Unknown;
    }
    if state.features().has(Features::LIMITS)
        && let Some(limit) = &forward.entries.limit
        && is_limited(state, limit)
    {
        return Connected::Limited;
    }
    open(state, forward, key, out, flags)
}

/// Reads what a packet says, and tells its TCP flags; of an ICMP error, what the packet says whose answer it quotes.
#[inline(always)]
fn key_of(frame: &Frame<'_>, packet: &Packet, key: &mut Tuple) -> Option<u8> {
    let is_quoted = packet.part == Part::Quoted;
    let l3 = if is_quoted { packet.l4() + 8 } else { packet.l3() };
    if packet.is_v4 {
        let ip = frame.get::<Ipv4Hdr>(l3)?;
        key.source = first_four(if is_quoted { ip.dst_addr } else { ip.src_addr });
        key.destination = first_four(if is_quoted { ip.src_addr } else { ip.dst_addr });
        key.protocol = ip.proto;
        key.family = 4;
    } else {
        let ip = frame.get::<Ipv6Hdr>(l3)?;
        key.source = if is_quoted { ip.dst_addr } else { ip.src_addr };
        key.destination = if is_quoted { ip.src_addr } else { ip.dst_addr };
        key.protocol = if is_quoted { ip.next_hdr } else { packet.protocol };
        key.family = 6;
    }
    key.reserved = [0; 2];
    key.ports = [0; 4];
    let l4 = match (packet.part, packet.is_v4) {
        (Part::LaterFragment, _) => return Some(0),
        (Part::Transport { .. }, _) => packet.l4(),
        (Part::Quoted, true) => l3 + usize::from(frame.get::<u8>(l3)? & 0x0f) * 4,
        (Part::Quoted, false) => l3 + IPV6_LEN,
    };
    let [a, b, c, d] = *frame.get::<[u8; 4]>(l4)?;
    key.ports = if is_quoted { [c, d, a, b] } else { [a, b, c, d] };
    if is_quoted || packet.protocol != protocol::TCP { Some(0) } else { frame.get::<u8>(l4 + 13).copied() }
}

const fn first_four(address: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = address;
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Generic cell rate: a source may be ahead of its rate by a burst (ITU-T I.371).
#[inline(always)]
fn is_limited<S: State>(state: &S, limit: &Limit) -> bool {
    let (now, interval_us) = (state.now_us(), u64::from(limit.interval_us));
    let earned = state.earned_us(&limit.key).unwrap_or(0).max(now) + interval_us;
    if earned - now > interval_us * u64::from(limit.burst) {
        return true;
    }
    state.set_earned_us(&limit.key, earned);
    false
}

/// Remembers a flow: in a vacant place, in that of a flow whose backend is dead, or, if it may, in that of the oldest one that
/// has not got past its SYN. A flow in use is never evicted.
#[inline(never)]
pub fn remember<S: State>(state: &S, set: u32, entry: FlowEntry, evict: bool) -> bool {
    const TRIES: u32 = 4;
    for _ in 0..TRIES {
        let (Some(view), Some(entries)) = (View::of(state), state.flows(set)) else { return false };
        // The best place so far, none while its worth is 0. Not an `Option`: the verifier does not let what is not there be copied.
        let (mut place, mut taken, mut oldest) = (0, FlowEntry::VACANT, 0);
        for (way, old) in (0..).zip(&entries.0) {
            match old.backend() {
                Some(id) if view.is_alive(id) => {
                    if old.tag() == entry.tag() {
                        // Another CPU was quicker.
                        return true;
                    }
                    let age = u32::from(old.idle_seconds(entry.last_seen())) + 1;
                    if evict && !old.is_established() && age > oldest {
                        (place, taken, oldest) = (way, *old, age);
                    }
                }
                // Better than any that is in use.
                Some(_) | None => {
                    (place, taken, oldest) = (way, *old, u32::MAX);
                }
            }
        }
        if oldest == 0 {
            break;
        }
        if state.swap_flow(set, place, taken, entry) {
            let event = if oldest == u32::MAX { Event::FlowInserted } else { Event::FlowEvicted };
            state.count_event(event);
            return true;
        }
    }
    state.count_event(Event::FlowRefused);
    false
}

/// Remembers whereto a fragmented packet goes: in a vacant place, or in that of one whose time is over.
#[inline(never)]
fn enter_fragment<S: State>(state: &S, hash: u64, id: BackendId) -> bool {
    let now = fragment_now(state);
    let entry = FlowEntry::new(hash, id, false, now);
    let Some(node) = state.node() else { return false };
    let set = set_of(hash, node.control.fragment_set_mask);
    let Some(entries) = state.fragments(set) else { return false };
    for (way, old) in (0..).zip(&entries.0) {
        let vacant = old.backend().is_none() || old.idle_seconds(now) > FRAGMENT_SECONDS;
        if (vacant || old.tag() == entry.tag()) && state.swap_fragment(set, way, *old, entry) {
            state.count_event(Event::FragmentInserted);
            return true;
        }
    }
    state.count_event(Event::FragmentRefused);
    false
}

const fn seen_flags(flags: u8) -> u8 {
    let data = if tcp_flags::begin(flags) { 0 } else { seen::DATA };
    let fin = if flags & tcp_flags::FIN != 0 { seen::FIN } else { 0 };
    let rst = if flags & tcp_flags::RST != 0 { seen::RST } else { 0 };
    data | fin | rst
}

#[inline(always)]
fn renew<S: State>(state: &S, key: &Tuple, flags: u8) {
    if let Some(node) = state.node() {
        state.renew(key, node.control.tick_seconds, seen_flags(flags));
    }
}

/// Source ports that a connection can get: those that nobody listens at.
const FIRST_PORT: u32 = 1024;
/// Ports that are tried: with nine tenths of them in use one in thirty connections is refused.
const PORT_TRIES: u32 = 32;

/// Opens a connection of mode `fullnat`: finds a source port under which the backend's replies are told apart.
#[inline(always)]
fn open<S: State>(state: &S, forward: &Forward, key: &Tuple, out: &mut Tuple, flags: u8) -> Connected {
    let Some(node) = state.node() else { return Connected::NoPort };
    let translation = node.backends[forward.id.index()].translation();
    let [c, d] = translation.port;
    *out = *key;
    out.source = source_of(node, translation.pool, key);
    out.destination = translation.address;
    let (last_seen, backend) = (node.control.tick_seconds, forward.id.get());
    let mut entry = Connection { out: key.reversed(), last_seen, backend, seen: 0, reply: 1 };
    let hash = forward.packet.flow_hash;
    for attempt in 0..PORT_TRIES {
        let port = FIRST_PORT + slot_of(mix(hash.wrapping_add(u64::from(attempt))), 0x1_0000 - FIRST_PORT);
        let [_, _, a, b] = port.to_be_bytes();
        out.ports = [a, b, c, d];
        let reply_key = out.reversed();
        match state.enter(&reply_key, &entry) {
            Entered::Taken => continue,
            Entered::Full => {
                state.count_event(Event::ConnectionRefused);
                return Connected::Full;
            }
            Entered::Yes => {}
        }
        (entry.out, entry.seen, entry.reply) = (*out, seen_flags(flags), 0);
        match state.enter(key, &entry) {
            Entered::Yes => {
                state.count_event(Event::ConnectionInserted);
                return Connected::Yes;
            }
            Entered::Taken => {
                state.leave(&reply_key);
                // Another CPU was quicker, or the entry's backend is dead and it is about to be swept out.
                let Some(known) = state.connection(key) else { return Connected::Unknown };
                *out = known.out;
                return Connected::Yes;
            }
            Entered::Full => {
                state.leave(&reply_key);
                state.count_event(Event::ConnectionRefused);
                return Connected::Full;
            }
        }
    }
    state.count_event(Event::ConnectionRefused);
    Connected::NoPort
}

/// The source address of a client's connections to a service: the same for all of them, so that a later fragment, which has no
/// ports, leaves with the same as the first.
#[inline(always)]
#[must_use]
pub fn source_of(node: &Node, pool: [[u8; 2]; 2], key: &Tuple) -> [u8; 16] {
    let [base, len] = pool.map(u16::from_ne_bytes);
    let word = |at: usize| {
        u64::from(u32::from_be_bytes([
            key.source[at],
            key.source[at + 1],
            key.source[at + 2],
            key.source[at + 3],
        ]))
    };
    let client = mix(word(0) << 32 ^ word(4)) ^ mix(word(8) << 32 ^ word(12) ^ 1);
    let index = u32::from(base) + slot_of(mix(client), u32::from(len));
    node.sources[(index & (MAX_SOURCES - 1)) as usize]
}
