//! Replies of nat backends: the service's address again, and out by the route to the client.
//!
//! Clients are anywhere, so the kernel's routes are asked for each packet (`bpf_fib_lookup`): no table here could know them all.

#![expect(unsafe_code, reason = "calls a helper with a structure of unions")]

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup,
};
use aya_ebpf::helpers::generated::bpf_fib_lookup as fib_lookup;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::counters;
use lb_common::decide::Reply;
use lb_common::frame::Macs;
use lb_common::reason::{DropReason, Event, PassReason};
use lb_common::rewrite::{decrement, nat};

use crate::context::frame;
use crate::count::count;
use crate::ingress::{drop_packet, pass, transmit};

/// Forwarding is off on the interface that the packet came in by (linux/bpf.h).
const FWD_DISABLED: i64 = 5;

/// Translates a reply back and sends it to the client.
#[inline(always)]
pub fn send(ctx: &XdpContext, reply: &Reply, bytes: u64) -> u32 {
    // SAFETY: integers and arrays of them, for which zero is a value.
    let mut query: bpf_fib_lookup = unsafe { core::mem::zeroed() };
    let packet = &reply.packet;
    query.l4_protocol = packet.protocol;
    query.ifindex = ctx.ingress_ifindex() as u32;
    query.__bindgen_anon_1.tot_len = packet.length_bytes;
    // AF_INET and AF_INET6 (linux/socket.h).
    query.family = if packet.is_v4 { 2 } else { 10 };
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = reply.destination.address;
    let words = [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]];
    // SAFETY: the member has room for four words. They are written one by one: two at once would stand across the alignment
    // of the kernel's stack. An IPv4 address is the first, and nobody reads the others then.
    unsafe {
        let to = (&raw mut query.__bindgen_anon_4).cast::<u32>();
        for (place, word) in words.into_iter().enumerate() {
            to.add(place).write_volatile(u32::from_ne_bytes(word));
        }
    }
    // SAFETY: the context is the one that the program was called with, the query lives on this stack.
    let found = unsafe {
        fib_lookup(ctx.ctx.cast(), &raw mut query, size_of::<bpf_fib_lookup>() as i32, 0)
    };
    let route = match found {
        found if found == i64::from(BPF_FIB_LKUP_RET_SUCCESS) => true,
        found
            if found == i64::from(BPF_FIB_LKUP_RET_NO_NEIGH)
                || found == i64::from(BPF_FIB_LKUP_RET_FRAG_NEEDED)
                || found == FWD_DISABLED =>
        {
            false
        }
        // To the node itself, a health check's answer for instance; or nowhere.
        _ => return pass(PassReason::NotVip, bytes),
    };
    let mut frame = frame(ctx);
    if nat::translate(&mut frame, packet, &reply.change).is_none() {
        return drop_packet(ctx, DropReason::BadLength, bytes);
    }
    if !route {
        // The stack finds the neighbor, or answers that it does not fit, and takes the hop off itself.
        return pass(PassReason::ReplyToStack, bytes);
    }
    let Some(hops) = frame.get::<u8>(packet.l3() + if packet.is_v4 { 8 } else { 7 }) else {
        return drop_packet(ctx, DropReason::BadLength, bytes);
    };
    if *hops <= 1 {
        return drop_packet(ctx, DropReason::TtlExpired, bytes);
    }
    let [a, b, c, d, e, f] = query.dmac;
    let [g, h, i, j, k, l] = query.smac;
    let macs = Macs { first: [a, b, c, d, e, f, g, h], second: [i, j, k, l] };
    let written = decrement(&mut frame, packet.l3(), packet.is_v4)
        .and_then(|()| frame.get_mut::<Macs>(0).map(|place| *place = macs));
    if written.is_none() {
        return drop_packet(ctx, DropReason::BadLength, bytes);
    }
    count(counters::of_event(Event::ReplySent), bytes, false);
    transmit(ctx, query.ifindex)
}
