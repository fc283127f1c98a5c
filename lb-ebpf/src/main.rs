//! The object that `xlb run` loads: the XDP program `xlb`, and those that it goes on in.

#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "the licence is read by its symbol and section")]

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_ebpf::ingress::{answer, any, capture, carry_out, enter, ingress, join, reply, vip};

/// Forwards packets to the backends of their service.
#[xdp(frags)]
#[inline(always)]
fn xlb(ctx: XdpContext) -> u32 {
    ingress(&ctx)
}

/// Goes on with the packets that `xlb` leaves to it.
#[xdp(frags)]
#[inline(always)]
fn xlb_any(ctx: XdpContext) -> u32 {
    any(&ctx)
}

/// Goes on with what is to a VIP.
#[xdp(frags)]
#[inline(always)]
fn xlb_vip(ctx: XdpContext) -> u32 {
    vip(&ctx)
}

/// Goes on with what may be a reply.
#[xdp(frags)]
#[inline(always)]
fn xlb_reply(ctx: XdpContext) -> u32 {
    reply(&ctx)
}

/// Goes on with packets that are answered.
#[xdp(frags)]
#[inline(always)]
fn xlb_answer(ctx: XdpContext) -> u32 {
    answer(&ctx)
}

/// Goes on with packets of mode `fullnat`.
#[xdp(frags)]
#[inline(always)]
fn xlb_join(ctx: XdpContext) -> u32 {
    join(&ctx)
}

/// Goes on where it was decided that a packet leaves.
#[xdp(frags)]
#[inline(always)]
fn xlb_enter(ctx: XdpContext) -> u32 {
    enter(&ctx)
}

/// Goes on where everything is entered.
#[xdp(frags)]
#[inline(always)]
fn xlb_send(ctx: XdpContext) -> u32 {
    carry_out(&ctx)
}

/// Goes before the others while packets are captured.
#[xdp(frags)]
fn xlb_capture(ctx: XdpContext) -> u32 {
    capture(&ctx)
}

/// Helpers for tracing may be called by programs under a licence that is compatible with the GPL only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program that can get here.
    loop {}
}
