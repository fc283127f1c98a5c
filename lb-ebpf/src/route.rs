//! Routes to clients: the kernel is asked (`bpf_fib_lookup`), and its answer is good for a second.
//!
//! Clients are anywhere, so no table of ours could know them all; but a client that is sent something is sent more. A CPU keeps
//! the last answers in an array of its own, each at a place that follows from the address.

#![expect(
    unsafe_code,
    reason = "calls a helper with a structure of unions, and reaches a per-CPU map element"
)]

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup,
};
use aya_ebpf::helpers::generated::bpf_fib_lookup as fib_lookup;
use aya_ebpf::programs::XdpContext;
use lb_common::decide::{Packet, Tables};
use lb_common::frame::Macs;

use crate::maps::ROUTES;
use crate::tables::KernelTables;

/// Answers that a CPU keeps.
pub const ROUTES_KEPT: usize = 4096;

/// Forwarding is off on the interface that the packet came in by (linux/bpf.h).
const FWD_DISABLED: i64 = 5;

/// Where packets to one address leave.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Route {
    /// The address: wire bytes as words, an IPv4 address in the first.
    destination: [u32; 4],
    /// Whether that is IPv4 (1) or IPv6 (2); 0 in a place that was never used.
    family: u32,
    /// When the kernel was asked, in units of about a second.
    asked: u32,
    /// The interface that packets come in by.
    ingress: u32,
    /// The interface that they leave by.
    pub interface: u32,
    /// Largest packet that fits, in bytes.
    mtu_bytes: u32,
    /// Next hop and own address.
    pub macs: Macs,
}

/// What is known of the way to a client.
pub enum Way<'r> {
    /// There is one.
    Known(&'r Route),
    /// The stack has to find it: there is no neighbor yet, the packet does not fit, or forwarding is off.
    Stack,
    /// The address is the node's own, or nobody's.
    None,
}

/// The way of a packet to `destination`, wire bytes.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the index of an interface, and a second's low bits")]
pub fn find(ctx: &XdpContext, packet: &Packet, destination: &[u8; 16]) -> Way<'static> {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *destination;
    let words = [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]].map(u32::from_ne_bytes);
    let (family, ingress) = (if packet.is_v4 { 1 } else { 2 }, ctx.ingress_ifindex() as u32);
    let asked = (KernelTables(ctx).now_us() >> 20) as u32;
    // Where the addresses of clients differ.
    let last = if packet.is_v4 { words[0] } else { words[1] ^ words[3] };
    let place = last.wrapping_mul(0x9e37_79b1) >> (u32::BITS - ROUTES_KEPT.ilog2());
    let Some(route) = ROUTES.get_ptr_mut(place) else { return Way::Stack };
    // SAFETY: the element is this CPU's own, and no other XDP program runs on this CPU before this one has returned.
    let route = unsafe { &mut *route };
    let is_known = route.family == family
        && route.asked == asked
        && route.ingress == ingress
        && route.destination[0] == words[0]
        && route.destination[1] == words[1]
        && route.destination[2] == words[2]
        && route.destination[3] == words[3];
    if is_known && u32::from(packet.length_bytes) <= route.mtu_bytes {
        return Way::Known(route);
    }
    // SAFETY: integers and arrays of them, for which zero is a value.
    let mut query: bpf_fib_lookup = unsafe { core::mem::zeroed() };
    fill(&mut query, packet, ingress, &words);
    match ask(ctx, &mut query) {
        found if found == i64::from(BPF_FIB_LKUP_RET_SUCCESS) => {}
        found
            if found == i64::from(BPF_FIB_LKUP_RET_NO_NEIGH)
                || found == i64::from(BPF_FIB_LKUP_RET_FRAG_NEEDED)
                || found == FWD_DISABLED =>
        {
            return Way::Stack;
        }
        _ => return Way::None,
    }
    let [a, b, c, d, e, f] = mac(&query.dmac);
    let [g, h, i, j, k, l] = mac(&query.smac);
    route.macs = Macs { first: [a, b, c, d, e, f, g, h], second: [i, j, k, l] };
    route.interface = query.ifindex;
    // SAFETY: the kernel has written the MTU in place of the length (linux/bpf.h: `mtu_result`); both are 16 bits.
    route.mtu_bytes = u32::from(unsafe { query.__bindgen_anon_1.mtu_result });
    route.destination = words;
    (route.family, route.asked, route.ingress) = (family, asked, ingress);
    Way::Known(route)
}

/// Byte by byte: read as words they would stand across the alignment of the kernel's stack.
#[inline(always)]
fn mac(bytes: &[u8; 6]) -> [u8; 6] {
    // SAFETY: inside the array.
    [0, 1, 2, 3, 4, 5].map(|at: usize| unsafe { bytes.as_ptr().add(at).read_volatile() })
}

#[inline(always)]
fn fill(query: &mut bpf_fib_lookup, packet: &Packet, ingress: u32, words: &[u32; 4]) {
    query.l4_protocol = packet.protocol;
    query.ifindex = ingress;
    query.__bindgen_anon_1.tot_len = packet.length_bytes;
    // AF_INET and AF_INET6 (linux/socket.h).
    query.family = if packet.is_v4 { 2 } else { 10 };
    // SAFETY: the member has room for four words. They are written one by one: two at once would stand across the alignment
    // of the kernel's stack. An IPv4 address is the first, and nobody reads the others then.
    unsafe {
        let to = (&raw mut query.__bindgen_anon_4).cast::<u32>();
        for (place, word) in words.iter().enumerate() {
            to.add(place).write_volatile(*word);
        }
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the size of a structure")]
fn ask(ctx: &XdpContext, query: &mut bpf_fib_lookup) -> i64 {
    // SAFETY: the context is the one that the program was called with, the query lives on this stack.
    unsafe { fib_lookup(ctx.ctx.cast(), &raw mut *query, size_of::<bpf_fib_lookup>() as i32, 0) }
}
