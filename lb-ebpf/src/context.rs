//! The packet that a program was called for.
//!
//! A file without maps: the object `decap`, which has its own, takes it in by its path, for whoever uses the library has all its
//! maps.

#![expect(unsafe_code, reason = "takes packet addresses and calls a helper")]

use aya_ebpf::helpers::bpf_xdp_get_buff_len;
use aya_ebpf::programs::XdpContext;
use lb_common::frame::Frame;

/// The frame that the program was called for.
#[inline(always)]
pub fn frame(ctx: &XdpContext) -> Frame<'_> {
    // SAFETY: the kernel hands the packet between these addresses to this program alone until it returns; `ctx` is
    // borrowed, and every caller makes a new frame after the head has moved. The addresses are read where they are used
    // (volatile): carried from one function to another they would be numbers of 32 bits, as which the kernel declares them.
    unsafe {
        let start = core::ptr::read_volatile(&raw const (*ctx.ctx).data);
        let end = core::ptr::read_volatile(&raw const (*ctx.ctx).data_end);
        Frame::from_addresses(start as usize, end as usize)
    }
}

/// Length of the frame, in all pieces.
#[inline(always)]
pub fn len_bytes(ctx: &XdpContext) -> u64 {
    // SAFETY: the context is the one that the program was called with.
    unsafe { bpf_xdp_get_buff_len(ctx.ctx) }
}

/// The frame with its length in all pieces.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the target has 64 bits")]
pub fn whole_frame(ctx: &XdpContext, bytes: u64) -> Frame<'_> {
    frame(ctx).with_len_bytes(bytes as usize)
}
