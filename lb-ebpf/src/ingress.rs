//! The forwarding program: decide, grow the head, rewrite, count, send.

#![expect(unsafe_code, reason = "reads load-time constants, takes packet addresses and calls helpers")]

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::helpers::{bpf_redirect, bpf_xdp_adjust_head};
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::info;
use lb_common::abi::counters;
use lb_common::decide::{Decision, Forward, decide};
use lb_common::frame::Frame;
use lb_common::reason::DropReason;
use lb_common::rewrite::rewrite;

use crate::count::count;
use crate::tables::KernelTables;

/// Set at load to log every dropped packet. While it is 0 the verifier removes the logging from the program.
#[unsafe(no_mangle)]
static TRACE_DROPS: u8 = 0;

/// The frame that the program was called for.
#[inline(always)]
pub fn frame(ctx: &XdpContext) -> Frame<'_> {
    // SAFETY: the kernel hands the packet between these addresses to this program alone until it returns; `ctx` is
    // borrowed, and every caller makes a new frame after the head has moved.
    unsafe { Frame::from_addresses(ctx.data(), ctx.data_end()) }
}

/// What the program returns for the packet.
#[inline(always)]
pub fn ingress(ctx: &XdpContext) -> u32 {
    let frame = frame(ctx);
    let bytes = frame.len_bytes() as u64;
    match decide(&frame, &KernelTables) {
        Decision::Forward(forward) => send(ctx, &forward, bytes),
        Decision::Pass(reason) => {
            count(counters::of_pass(reason), bytes);
            XDP_PASS
        }
        Decision::Drop(reason) => drop_packet(ctx, reason, bytes),
    }
}

#[inline(always)]
fn send(ctx: &XdpContext, forward: &Forward<'_>, bytes: u64) -> u32 {
    let overhead = forward.mode.overhead_bytes();
    if overhead > 0 && !grow_head(ctx, overhead) {
        return drop_packet(ctx, DropReason::NoHeadroom, bytes);
    }
    // Growing the head has made every older packet pointer invalid.
    if rewrite(&mut frame(ctx), forward).is_none() {
        return drop_packet(ctx, DropReason::BadLength, bytes);
    }
    count(counters::of_backend(forward.id), bytes);
    let interface = forward.backend.interface;
    if interface as usize == ctx.ingress_ifindex() {
        return XDP_TX;
    }
    redirect(interface)
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the helper returns an XDP action"
)]
fn redirect(interface: u32) -> u32 {
    // SAFETY: a plain helper call.
    unsafe { bpf_redirect(interface, 0) as u32 }
}

#[inline(always)]
fn grow_head(ctx: &XdpContext, bytes: u16) -> bool {
    // SAFETY: the context is the one that the program was called with.
    unsafe { bpf_xdp_adjust_head(ctx.ctx, -i32::from(bytes)) == 0 }
}

#[inline(always)]
fn drop_packet(ctx: &XdpContext, reason: DropReason, bytes: u64) -> u32 {
    count(counters::of_drop(reason), bytes);
    // SAFETY: a static of this object; volatile, so that the value of the loaded object is read and not today's initializer.
    if unsafe { core::ptr::read_volatile(&raw const TRACE_DROPS) } != 0 {
        info!(ctx, "dropped a packet of {} bytes: {}", bytes, reason.name());
    }
    XDP_DROP
}
