//! The object that `xlb run` loads: one XDP program, `xlb`.

#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "the licence is read by its symbol and section")]

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_ebpf::ingress::ingress;

/// Forwards packets to the backends of their service.
#[xdp]
fn xlb(ctx: XdpContext) -> u32 {
    ingress(&ctx)
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
