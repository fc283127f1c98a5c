//! Capturing: a frame as it came in is kept by the first program, and handed out with what became of it by the last.
//!
//! All of it is behind [`Features::CAPTURE`], a constant of the load: without it the verifier takes it out.

#![expect(unsafe_code, reason = "fills an element of a map, and calls helpers")]

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_xdp_load_bytes};
use aya_ebpf::programs::XdpContext;
use lb_common::abi::capture::{CAPTURES_A_SECOND, Captured, SNAP_BYTES};
use lb_common::abi::counters;
use lb_common::abi::features::Features;
use lb_common::capture::wanted;
use lb_common::decide::Tables;
use lb_common::reason::Event;

use crate::context::{frame, len_bytes};
use crate::count::{count, count_event};
use crate::maps::{CAPTURES, NODE, TAKEN};
use crate::tables::KernelTables;

/// The power of two that [`SNAP_BYTES`] are below.
const MAX_COPIED: usize = SNAP_BYTES.next_power_of_two();

/// What a CPU keeps of its packet, and of how many it has handed out.
#[repr(C)]
pub struct Taken {
    record: Captured,
    /// As far as the verifier has a copy reach.
    reserved: [u8; MAX_COPIED - SNAP_BYTES],
    /// The second, or nearly, that is counted in.
    second: u64,
    /// How many were handed out in it.
    count: u64,
}

/// Keeps a frame as it came in, if it is wanted.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "an index has 32 bits, and no frame is longer than those count"
)]
pub fn begin(ctx: &XdpContext) {
    let Some(taken) = TAKEN.get_ptr_mut(0) else { return };
    // SAFETY: the element is this CPU's own, and no other XDP program runs on this CPU before this packet is done.
    let record = unsafe { &mut (*taken).record };
    record.before_len = 0;
    let (Some(node), bytes) = (NODE.get(0), len_bytes(ctx)) else { return };
    let Some(service) = wanted(&frame(ctx).with_len_bytes(bytes as usize), node) else { return };
    if copy(ctx.ctx, bytes, &mut record.before) {
        // SAFETY: a plain helper call.
        record.at_ns = unsafe { bpf_ktime_get_coarse_ns() };
        record.interface = ctx.ingress_ifindex() as u32;
        record.service = service;
        record.before_len = bytes as u32;
    }
}

/// Counts a packet that is done, `begins` if it begins a flow, and hands out what was kept of it, with the frame as it leaves by
/// an interface, 0 for none.
#[inline(always)]
pub fn end(ctx: &XdpContext, fate: u32, bytes: u64, begins: bool, egress: u32) {
    if count(fate, bytes, begins).has(Features::CAPTURE) {
        let _ = hand_out(ctx.ctx, fate, egress, len_bytes(ctx));
    }
}

#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "no frame is longer than 32 bits count")]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value the record would be copied onto the stack"
)]
fn hand_out(ctx: *mut xdp_md, fate: u32, egress: u32, bytes: u64) -> u32 {
    let (Some(taken), Some(node)) = (TAKEN.get_ptr_mut(0), NODE.get(0)) else { return 0 };
    // SAFETY: as in `begin`.
    let taken = unsafe { &mut *taken };
    let wanted = node.control.capture.fate;
    if taken.record.before_len == 0 || wanted != 0 && wanted != fate + 1 {
        return 0;
    }
    // As good as a second, and without a division.
    let second = taken.record.at_ns >> 30;
    if taken.second != second {
        (taken.second, taken.count) = (second, 0);
    }
    taken.count += 1;
    let record = &mut taken.record;
    (record.fate, record.egress, record.after_len) = (fate, egress, 0);
    if egress != 0 && copy(ctx, bytes, &mut record.after) {
        record.after_len = bytes as u32;
    }
    if taken.count > CAPTURES_A_SECOND || CAPTURES.output(&*record, 0).is_err() {
        count_event(counters::of_event(Event::CaptureLost));
    }
    // It is done.
    record.before_len = 0;
    1
}

/// Copies the first bytes of a frame.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "at most the size of the buffer")]
fn copy(ctx: *mut xdp_md, bytes: u64, to: &mut [u8; SNAP_BYTES]) -> bool {
    let len = if bytes < SNAP_BYTES as u64 { bytes } else { SNAP_BYTES as u64 };
    // To the verifier of 6.1 what is not 0 may still be 0: what is one more than something is not. Of no bytes it makes more
    // than the frame has, and the helper refuses.
    let less_one = KernelTables(&XdpContext::new(ctx)).opaque(len.wrapping_sub(1) as usize);
    let len = (less_one & (MAX_COPIED - 1)) + 1;
    // SAFETY: the context is the one that the program was called with, and the buffer has room for so many.
    unsafe { bpf_xdp_load_bytes(ctx, 0, to.as_mut_ptr().cast(), len as u32) == 0 }
}
