//! The forwarding programs: decide, enter, resize, rewrite, count, send.
//!
//! [`ingress`] is for the common packet and short. The others do everything, one step each, and are reached by tail calls:
//! each has the kernel's whole stack, and what passes between them stands in a map.

#![expect(unsafe_code, reason = "reads load-time constants and calls helpers")]

use core::mem::MaybeUninit;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::helpers::{bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::info;
use lb_common::abi::backend::Backend;
use lb_common::abi::connection::{NO_TUPLE, Tuple};
use lb_common::abi::counters;
use lb_common::abi::features::Features;
use lb_common::abi::program;
use lb_common::commit::{self, commit, has_connection};
use lb_common::decide::{self, Answer, Course, Decision, Done, Forward, Tables, Work, plain};
use lb_common::reason::{DropReason, PassReason};
use lb_common::rewrite::{answer as answers, rewrite};

use crate::capture;
use crate::context::{frame, len_bytes, whole_frame};
use crate::maps::{PROGRAMS, WORK};
use crate::reply::send as send_reply;
use crate::tables::{KernelTables, features};

/// Set at load to log every dropped packet. While it is 0 the verifier removes the logging from the program.
#[unsafe(no_mangle)]
static TRACE_DROPS: u8 = 0;

/// What the program returns for a common packet; others go on in [`any`].
#[inline(always)]
pub fn ingress(ctx: &XdpContext) -> u32 {
    let tables = KernelTables(ctx);
    // What is captured is seen as it came by one program only.
    if !features().has(Features::CAPTURE) {
        let frame = frame(ctx);
        let bytes = frame.len_bytes() as u64;
        plain(&frame, &tables, CarriedOut { ctx, tables: &tables, bytes })
            .unwrap_or_else(|| go_on(ctx, program::ANY))
    } else {
        go_on(ctx, program::CAPTURE)
    }
}

/// Keeps the packet as it came in, and goes on as with any.
#[inline(always)]
pub fn capture(ctx: &XdpContext) -> u32 {
    capture::begin(ctx);
    go_on(ctx, program::ANY)
}

/// Does what was decided about a common packet, and tells the XDP action.
struct CarriedOut<'c> {
    ctx: &'c XdpContext,
    tables: &'c KernelTables<'c>,
    bytes: u64,
}

impl<'c> Done<'c> for CarriedOut<'c> {
    type Result = u32;

    #[inline(always)]
    fn forward(self, forward: Forward, backend: &'c Backend) -> u32 {
        commit::see(self.tables, &forward.memory);
        send::<true>(self.ctx, &forward, backend, &NO_TUPLE, self.bytes)
    }

    #[inline(always)]
    fn pass(self, reason: PassReason) -> u32 {
        pass(self.ctx, reason, self.bytes)
    }
}

/// What the program returns for any packet; goes on in [`vip`] or [`reply`] with those that are anybody's business here.
#[inline(always)]
pub fn any(ctx: &XdpContext) -> u32 {
    let bytes = len_bytes(ctx);
    let Some(work) = work() else { return pass(ctx, PassReason::NotConfigured, bytes) };
    let work = work.write(Work::NEW);
    let course = decide::any(&whole_frame(ctx, bytes), &KernelTables(ctx), work);
    follow(ctx, course, work, bytes)
}

/// Decides about a packet to a VIP.
#[inline(always)]
pub fn vip(ctx: &XdpContext) -> u32 {
    let bytes = len_bytes(ctx);
    let Some(work) = work() else { return XDP_PASS };
    // SAFETY: `any` has written it, and has called this program.
    let work = unsafe { work.assume_init_mut() };
    let course = decide::vip(&whole_frame(ctx, bytes), &KernelTables(ctx), work);
    follow(ctx, course, work, bytes)
}

/// Decides about what may be a reply.
#[inline(always)]
pub fn reply(ctx: &XdpContext) -> u32 {
    let bytes = len_bytes(ctx);
    let Some(work) = work() else { return XDP_PASS };
    // SAFETY: `any` has written it, and has called this program.
    let work = unsafe { work.assume_init_mut() };
    let course = decide::reply(&whole_frame(ctx, bytes), &KernelTables(ctx), work);
    follow(ctx, course, work, bytes)
}

/// Goes on with what was found out about a packet.
#[inline(always)]
fn follow(ctx: &XdpContext, course: Course, work: &Work, bytes: u64) -> u32 {
    let next = if features().has(Features::FULLNAT) && has_connection(work) {
        program::JOIN
    } else {
        program::ENTER
    };
    match (course, &work.decision) {
        (Course::Vip, _) => go_on(ctx, program::VIP),
        (Course::Reply, _) => go_on(ctx, program::REPLY),
        (Course::Send, _) => go_on(ctx, next),
        (Course::Leave, Decision::Pass(reason)) => pass(ctx, *reason, bytes),
        (Course::Leave, Decision::Drop(reason)) => drop_packet(ctx, *reason, bytes),
        (Course::Leave, Decision::Forward(_) | Decision::Reply(_) | Decision::Answer(_)) => XDP_PASS,
    }
}

/// Enters what was decided into the tables; goes on in [`carry_out`].
#[inline(always)]
pub fn enter(ctx: &XdpContext) -> u32 {
    let Some(work) = work() else { return XDP_PASS };
    // SAFETY: `any` has written it, and has called this program.
    let work = unsafe { work.assume_init_mut() };
    entered(ctx, commit(&KernelTables(ctx), work), work, program::SEND)
}

/// Finds or opens the connection of a packet in mode `fullnat`; goes on in [`enter`].
#[inline(always)]
pub fn join(ctx: &XdpContext) -> u32 {
    let Some(work) = work() else { return XDP_PASS };
    // SAFETY: `any` has written it, and has called this program.
    let work = unsafe { work.assume_init_mut() };
    entered(ctx, commit::join(&KernelTables(ctx), &frame(ctx), work), work, program::ENTER)
}

/// Goes on with what still leaves after something was entered.
#[inline(always)]
fn entered(ctx: &XdpContext, course: Course, work: &Work, next: u32) -> u32 {
    match (course, &work.decision) {
        (Course::Send, _) => go_on(ctx, next),
        (Course::Leave, Decision::Drop(reason)) => drop_packet(ctx, *reason, len_bytes(ctx)),
        (Course::Leave, Decision::Pass(reason)) => pass(ctx, *reason, len_bytes(ctx)),
        (
            Course::Leave | Course::Vip | Course::Reply,
            Decision::Forward(_)
            | Decision::Reply(_)
            | Decision::Answer(_)
            | Decision::Pass(_)
            | Decision::Drop(_),
        ) => XDP_PASS,
    }
}

/// Does what was decided.
#[inline(always)]
pub fn carry_out(ctx: &XdpContext) -> u32 {
    let bytes = len_bytes(ctx);
    let Some(work) = work() else { return XDP_PASS };
    // SAFETY: `any` has written it, and has called this program.
    let work = unsafe { work.assume_init_ref() };
    match &work.decision {
        Decision::Forward(forward) => send_to_id::<false>(ctx, &KernelTables(ctx), forward, &work.out, bytes),
        Decision::Reply(reply) if features().has_any(Features::REPLIES) => send_reply(ctx, reply, bytes),
        Decision::Answer(_) => go_on(ctx, program::ANSWER),
        Decision::Reply(_) | Decision::Pass(_) | Decision::Drop(_) => XDP_PASS,
    }
}

/// Sends a packet back as its own answer.
#[inline(always)]
pub fn answer(ctx: &XdpContext) -> u32 {
    let Some(work) = work() else { return XDP_PASS };
    // SAFETY: `any` has written it, and has called this program.
    match unsafe { &work.assume_init_ref().decision } {
        Decision::Answer(answer) => send_back(ctx, answer, len_bytes(ctx)),
        Decision::Forward(_) | Decision::Reply(_) | Decision::Pass(_) | Decision::Drop(_) => XDP_PASS,
    }
}

/// Where a CPU keeps what it knows of its packet.
#[inline(always)]
fn work() -> Option<&'static mut MaybeUninit<Work>> {
    let place = WORK.get_ptr_mut(0)?;
    // SAFETY: the element is this CPU's own, and no other XDP program runs on this CPU before this one has returned.
    Some(unsafe { &mut (*place).0 })
}

/// Goes on in another program.
#[inline(always)]
fn go_on(ctx: &XdpContext, program: u32) -> u32 {
    // SAFETY: nothing on this stack has to be dropped. The place is filled before the first program is attached.
    unsafe { PROGRAMS.tail_call(ctx, program) };
    XDP_PASS
}

#[inline(always)]
fn send_to_id<const PLAIN: bool>(
    ctx: &XdpContext,
    tables: &KernelTables<'_>,
    forward: &Forward,
    out: &Tuple,
    bytes: u64,
) -> u32 {
    match tables.node() {
        Some(node) => send::<PLAIN>(ctx, forward, &node.backends[forward.id.index()], out, bytes),
        None => pass(ctx, PassReason::NotConfigured, bytes),
    }
}

#[inline(always)]
fn send<const PLAIN: bool>(
    ctx: &XdpContext,
    forward: &Forward,
    backend: &Backend,
    out: &Tuple,
    bytes: u64,
) -> u32 {
    let overhead = forward.mode.overhead_bytes();
    if overhead > 0 && !grow_head(ctx, overhead) {
        return drop_packet(ctx, DropReason::NoHeadroom, bytes);
    }
    // Growing the head has made every older packet pointer invalid.
    if rewrite::<PLAIN>(&mut frame(ctx), features(), forward, backend, out).is_none() {
        return drop_packet(ctx, DropReason::BadLength, bytes);
    }
    capture::end(ctx, counters::of_backend(forward.id), bytes, forward.packet.begins, backend.interface);
    transmit(ctx, backend.interface)
}

/// Back where it came from, as its own answer.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a frame is shorter than 64 KiB")]
fn send_back(ctx: &XdpContext, answer: &Answer, bytes: u64) -> u32 {
    let size = answers::size(answer);
    if let Some(len) = size.len_bytes
        && !set_len(ctx, len as i32, bytes as i32)
    {
        return drop_packet(ctx, DropReason::NoHeadroom, bytes);
    }
    if size.head_bytes > 0 && !grow_head(ctx, size.head_bytes) {
        return drop_packet(ctx, DropReason::NoHeadroom, bytes);
    }
    if answers::write(&mut frame(ctx), features(), answer).is_none() {
        return drop_packet(ctx, DropReason::BadLength, bytes);
    }
    capture::end(ctx, counters::of_answer(answer.kind()), bytes, false, ctx.ingress_ifindex() as u32);
    XDP_TX
}

/// Sends the frame out of an interface.
#[inline(always)]
pub fn transmit(ctx: &XdpContext, interface: u32) -> u32 {
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

/// Cuts or grows the end of the frame.
#[inline(always)]
fn set_len(ctx: &XdpContext, len: i32, now: i32) -> bool {
    // SAFETY: the context is the one that the program was called with.
    unsafe { bpf_xdp_adjust_tail(ctx.ctx, len - now) == 0 }
}

/// Passes a frame to the kernel's stack.
#[inline(always)]
pub fn pass(ctx: &XdpContext, reason: PassReason, bytes: u64) -> u32 {
    capture::end(ctx, counters::of_pass(reason), bytes, false, 0);
    XDP_PASS
}

/// Drops a frame.
#[inline(always)]
pub fn drop_packet(ctx: &XdpContext, reason: DropReason, bytes: u64) -> u32 {
    capture::end(ctx, counters::of_drop(reason), bytes, false, 0);
    // SAFETY: a static of this object; volatile, so that the value of the loaded object is read and not today's initializer.
    if unsafe { core::ptr::read_volatile(&raw const TRACE_DROPS) } != 0 {
        info!(ctx, "dropped a packet of {} bytes: {}", bytes, reason.name());
    }
    XDP_DROP
}
