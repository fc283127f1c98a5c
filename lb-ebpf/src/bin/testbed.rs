//! Programs for labs and for the bench; never part of a running balancer.
//!
//! `BPF_PROG_TEST_RUN` hands a program the packet that its last run has left behind. So every `bench_` program first undoes what
//! the run before has done, and can step to another of 2^20 flows, before it runs the production code; the floors undo and step
//! alike, and do as little as can be done.
//!
//! `generate` is a packet generator for live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`), `drop` the end of their way.

#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "reads a load-time constant and calls helpers")]

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_xdp_adjust_head};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use lb_common::frame::{EthHdr, Frame};
use lb_common::parse::{ETH_LEN, IPV4_LEN, IPV6_LEN, ether_type, protocol};
use lb_ebpf::context::frame;
use lb_ebpf::ingress::{answer, any, capture, carry_out, enter, ingress, join, reply, vip};
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

/// Set at load to make every run of a `bench_` program another flow.
#[unsafe(no_mangle)]
static VARY_FLOW: u8 = 0;

/// Set at load to what the run before has put in front of the frame, in bytes.
#[unsafe(no_mangle)]
static UNDO_HEAD: u8 = 0;

/// Words of a frame that can be undone, from its byte 2 on: all headers.
const UNDO_WORDS: usize = 19;

/// Set at load to the words that the run before has changed, a bit each.
#[unsafe(no_mangle)]
static UNDO: u32 = 0;

/// Set at load to what they were, as bytes on the wire.
#[unsafe(no_mangle)]
static ORIGINAL: [u32; UNDO_WORDS] = [0; UNDO_WORDS];

/// How many flows `generate` makes.
const GENERATED_FLOWS: u64 = 1024;

/// Words of a frame that `generate` writes: headers of Ethernet, IPv4 and UDP, and two bytes more.
const TEMPLATE_WORDS: usize = 11;

/// Set at load to the beginning of the frames that `generate` sends, as bytes on the wire.
#[unsafe(no_mangle)]
static TEMPLATE: [u32; TEMPLATE_WORDS] = [0; TEMPLATE_WORDS];

/// After how many frames `generate` looks at the clock: the kernel sends that many at once.
const GENERATED_BATCH: u64 = 64;

/// How many frames `generate` has made, and the clock at the first and at the last multiple of `GENERATED_BATCH`. Set to zero
/// before a run. Nothing outside tells how long the frames took: the system call waits for grace periods of RCU besides.
#[btf_map]
static GENERATED: Array<u64, 3> = Array::new();

/// The MAC that bench frames are sent to; the bench tells the tables the same.
const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Lets everything through: gives the veth it is attached to the receive path that frames sent by XDP need.
#[xdp]
fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// Lets nothing through.
#[xdp]
fn drop(_ctx: XdpContext) -> u32 {
    XDP_DROP
}

/// Sends frames of `TEMPLATE`, each from the next source port.
///
/// A page comes back as the receiver has left it, so every byte of the headers is written anew.
#[xdp]
#[inline(always)]
fn generate(ctx: XdpContext) -> u32 {
    write_template(&ctx).map_or(XDP_ABORTED, |()| XDP_TX)
}

fn write_template(ctx: &XdpContext) -> Option<()> {
    const UDP_SOURCE: usize = ETH_LEN + IPV4_LEN;
    const FIRST_PORT: u64 = 1024;
    let number = next_frame()?;
    let mut frame = frame(ctx);
    let template = (&raw const TEMPLATE).cast::<u32>();
    for word in 0..TEMPLATE_WORDS {
        // SAFETY: inside the array; volatile, so that the value of the loaded object is read and not today's initializer.
        *frame.get_mut::<[u8; 4]>(4 * word)? = unsafe { template.add(word).read_volatile() }.to_ne_bytes();
    }
    let [.., high, low] = (FIRST_PORT + number % GENERATED_FLOWS).to_be_bytes();
    *frame.get_mut::<[u8; 2]>(UDP_SOURCE)? = [high, low];
    Some(())
}

/// The number of the frame, from 0 on; keeps `GENERATED`.
#[inline(always)]
fn next_frame() -> Option<u64> {
    let [made, first, last] = [0, 1, 2].map(|index| GENERATED.get_ptr_mut(index));
    let (made, first, last) = (made?, first?, last?);
    // SAFETY: elements of the map; one generator runs at a time, and userspace looks when it has ended.
    unsafe {
        let number = *made;
        *made = number.wrapping_add(1);
        if number.is_multiple_of(GENERATED_BATCH) {
            *last = bpf_ktime_get_ns();
            if number == 0 {
                *first = *last;
            }
        }
        Some(number)
    }
}

/// A backend's side of `ipip`: takes the outer header of IPv4 in IPv4 or IPv6 in IPv6 off.
#[xdp]
fn decap(ctx: XdpContext) -> u32 {
    let Some(eth) = frame(&ctx).get::<EthHdr>(0).copied() else { return XDP_PASS };
    let outer_len = match ether_type(eth.ether_type) {
        ether_type::IPV4 => match frame(&ctx).get::<Ipv4Hdr>(ETH_LEN) {
            Some(ip) if ip.proto == protocol::IPV4 => IPV4_LEN,
            Some(_) | None => return XDP_PASS,
        },
        ether_type::IPV6 => match frame(&ctx).get::<Ipv6Hdr>(ETH_LEN) {
            Some(ip) if ip.next_hdr == protocol::IPV6 => IPV6_LEN,
            Some(_) | None => return XDP_PASS,
        },
        _ => return XDP_PASS,
    };
    shrink(&ctx, outer_len, eth).map_or(XDP_ABORTED, |()| XDP_PASS)
}

/// What `bench_` programs call for packets that take a closer look.
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
#[inline(always)]
fn xlb_capture(ctx: XdpContext) -> u32 {
    capture(&ctx)
}

/// Sends the frame back.
#[xdp]
#[inline(always)]
fn floor_tx_v4(ctx: XdpContext) -> u32 {
    prepare::<IPV4_LEN>(&ctx).map_or(XDP_ABORTED, |()| XDP_TX)
}

/// The same with an IPv6 frame.
#[xdp]
#[inline(always)]
fn floor_tx_v6(ctx: XdpContext) -> u32 {
    prepare::<IPV6_LEN>(&ctx).map_or(XDP_ABORTED, |()| XDP_TX)
}

/// Parses, grows the head and writes an outer IPv4 header and, if there is room for it, a UDP header; and nothing else.
#[xdp]
#[inline(always)]
fn floor_encap_v4(ctx: XdpContext) -> u32 {
    prepare::<IPV4_LEN>(&ctx).and_then(|()| encap_v4(&ctx)).map_or(XDP_ABORTED, |()| XDP_TX)
}

/// The same with an outer IPv6 header.
#[xdp]
#[inline(always)]
fn floor_encap_v6(ctx: XdpContext) -> u32 {
    prepare::<IPV6_LEN>(&ctx).and_then(|()| encap_v6(&ctx)).map_or(XDP_ABORTED, |()| XDP_TX)
}

/// Production code on an IPv4 frame.
#[xdp(frags)]
#[inline(always)]
fn bench_v4(ctx: XdpContext) -> u32 {
    prepare::<IPV4_LEN>(&ctx).map_or(XDP_ABORTED, |()| ingress(&ctx))
}

/// Production code on an IPv6 frame.
#[xdp(frags)]
#[inline(always)]
fn bench_v6(ctx: XdpContext) -> u32 {
    prepare::<IPV6_LEN>(&ctx).map_or(XDP_ABORTED, |()| ingress(&ctx))
}

/// What a constant says that is set at load.
#[inline(always)]
fn constant<T: Copy>(of: &'static T) -> T {
    // SAFETY: a static of this object; volatile, so that the value of the loaded object is read and not today's initializer.
    unsafe { core::ptr::read_volatile(&raw const *of) }
}

/// Makes the frame what it was before the last run, or that of the next flow; `IP_LEN` is the length of its IP header.
#[inline(always)]
fn prepare<const IP_LEN: usize>(ctx: &XdpContext) -> Option<()> {
    /// The acknowledged number of a TCP header, or the first data behind a UDP header: no program changes it.
    const STEP: usize = ETH_LEN + 8;
    let head = constant(&UNDO_HEAD);
    if head > 0 {
        move_head(ctx, i32::from(head))?;
        *frame(ctx).get_mut::<[u8; 2]>(0)? = [NODE_MAC[0], NODE_MAC[1]];
    }
    let mut frame = frame(ctx);
    let mask = constant(&UNDO);
    #[expect(
        clippy::needless_range_loop,
        reason = "an iterator is not unrolled, and then nothing of it is dead code"
    )]
    for word in 0..UNDO_WORDS {
        if mask >> word & 1 != 0 {
            *frame.get_mut::<[u8; 4]>(2 + 4 * word)? = constant(&ORIGINAL[word]).to_ne_bytes();
        }
    }
    if constant(&VARY_FLOW) != 0 {
        let step = frame.get_mut::<[u8; 4]>(STEP + IP_LEN)?;
        let flow = next(u32::from_be_bytes(*step));
        *step = flow.to_be_bytes();
        // The last word of the source address.
        let source =
            frame.get_mut::<[u8; 4]>(if IP_LEN == IPV4_LEN { ETH_LEN + 12 } else { ETH_LEN + 20 })?;
        *source = (u32::from_be_bytes(*source) & !0xf_ffff | flow & 0xf_ffff).to_be_bytes();
    }
    Some(())
}

#[inline(always)]
fn eth_to_node(ether_type: u16) -> EthHdr {
    let [a, b, c, d, e, f] = NODE_MAC;
    EthHdr {
        dst_low: [a, b, c, d],
        dst_high: [e, f],
        src: [2, 0, 0, 0, 0, 2],
        ether_type: ether_type.to_ne_bytes(),
    }
}

/// Takes an outer header off again.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "an outer header has 20 or 40 bytes"
)]
fn shrink(ctx: &XdpContext, bytes: usize, eth: EthHdr) -> Option<()> {
    move_head(ctx, bytes as i32)?;
    *frame(ctx).get_mut::<EthHdr>(0)? = eth;
    Some(())
}

#[inline(always)]
fn move_head(ctx: &XdpContext, bytes: i32) -> Option<()> {
    // SAFETY: the context is the one that the program was called with.
    (unsafe { bpf_xdp_adjust_head(ctx.ctx, bytes) } == 0).then_some(())
}

/// A full-period linear congruential step through the low 20 bits (multiplier 1 mod 4, odd increment): every flow once,
/// in an order that no cache foresees.
#[inline(always)]
fn next(word: u32) -> u32 {
    (word & !0xf_ffff) | (word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) & 0xf_ffff)
}

/// Writes a UDP header, if what the head has grown by has room for one.
#[inline(always)]
fn encap_udp(frame: &mut Frame<'_>, at: usize, len: u16) -> Option<()> {
    let [high, low] = len.wrapping_add(8).to_be_bytes();
    *frame.get_mut::<[u8; 8]>(at)? = [0x80, 1, 0x17, 0xc0, high, low, 0, 0];
    Some(())
}

#[inline(always)]
fn encap_v4(ctx: &XdpContext) -> Option<()> {
    let inner = frame(ctx).get::<Ipv4Hdr>(ETH_LEN).copied()?;
    let (head, len) = (constant(&UNDO_HEAD), u16::from_be_bytes(inner.tot_len));
    move_head(ctx, -i32::from(head))?;
    let mut frame = frame(ctx);
    *frame.get_mut::<EthHdr>(0)? = eth_to_node(ether_type::IPV4);
    let outer = frame.get_mut::<Ipv4Hdr>(ETH_LEN)?;
    *outer = inner;
    outer.proto = protocol::IPV4;
    outer.tot_len = len.wrapping_add(u16::from(head)).to_be_bytes();
    if usize::from(head) == IPV4_LEN { Some(()) } else { encap_udp(&mut frame, ETH_LEN + IPV4_LEN, len) }
}

#[inline(always)]
fn encap_v6(ctx: &XdpContext) -> Option<()> {
    let inner = frame(ctx).get::<Ipv6Hdr>(ETH_LEN).copied()?;
    let (head, len) = (constant(&UNDO_HEAD), u16::from_be_bytes(inner.payload_len));
    move_head(ctx, -i32::from(head))?;
    let mut frame = frame(ctx);
    *frame.get_mut::<EthHdr>(0)? = eth_to_node(ether_type::IPV6);
    let outer = frame.get_mut::<Ipv6Hdr>(ETH_LEN)?;
    *outer = inner;
    outer.next_hdr = protocol::IPV6;
    outer.payload_len = len.wrapping_add(u16::from(head)).to_be_bytes();
    if usize::from(head) == IPV6_LEN { Some(()) } else { encap_udp(&mut frame, ETH_LEN + IPV6_LEN, len) }
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
