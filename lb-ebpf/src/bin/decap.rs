//! The object that `xlb decap` loads: the XDP program of the receiving side, a shell around `lb_common::decap`.

#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "calls helpers, reaches a per-CPU map element through a raw pointer, has a licence"
)]

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, PerCpuArray};
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use lb_common::abi::counters::Counter;
use lb_common::abi::decap::{Config, DECAPSULATED, MAX_COUNTERS, SourceKey, VipKey, of_drop, of_pass};
use lb_common::decap::{Decap, Decision, DropReason, Tables, decide, rewrite};

#[path = "../context.rs"]
pub mod context;

use context::{frame, len_bytes, whole_frame};

/// What the program was told, one entry.
#[btf_map]
static CONFIG: Array<Config, 1> = Array::new();

/// Prefixes that outer sources are in; userspace sets the number of entries at load.
#[btf_map]
static SOURCES: LpmTrie<SourceKey, u32, 64> = LpmTrie::new();

/// Destinations of inner packets; userspace sets the number of entries at load.
#[btf_map]
static VIPS: HashMap<VipKey, u32, 64> = HashMap::new();

/// What happened to how many packets.
#[btf_map]
static COUNTERS: PerCpuArray<Counter, { MAX_COUNTERS as usize }> = PerCpuArray::new();

/// Takes off the outer headers of balancers.
#[xdp(frags)]
fn xlb_decap(ctx: XdpContext) -> u32 {
    let bytes = len_bytes(&ctx);
    let (index, action) = match decide(&whole_frame(&ctx, bytes), &Maps) {
        Decision::Decapsulate(decap) => match take_off(&ctx, &decap) {
            Some(()) => (DECAPSULATED, XDP_PASS),
            None => (of_drop(DropReason::NotMoved), XDP_DROP),
        },
        Decision::Pass(reason) => (of_pass(reason), XDP_PASS),
        Decision::Drop(reason) => (of_drop(reason), XDP_DROP),
    };
    count(index, bytes);
    action
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "an outer header has 20 to 68 bytes"
)]
fn take_off(ctx: &XdpContext, decap: &Decap) -> Option<()> {
    rewrite(&mut frame(ctx), decap)?;
    // SAFETY: the context is the one that the program was called with.
    (unsafe { bpf_xdp_adjust_head(ctx.ctx, decap.outer_len() as i32) } == 0).then_some(())
}

/// `lb_common`'s view of the maps.
struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn config(&self) -> Option<&Config> {
        CONFIG.get(0)
    }

    #[inline(always)]
    fn is_source(&self, key: &SourceKey) -> bool {
        let key = Aligned(Key::new(SourceKey::BITS, *key));
        SOURCES.get(&key.0).is_some()
    }

    #[inline(always)]
    fn is_vip(&self, key: &VipKey) -> bool {
        // SAFETY: only whether there is a value is looked at.
        unsafe { VIPS.get(key) }.is_some()
    }
}

/// A key on the kernel's stack, where words are written at their own alignment only; a trie's key by itself has none.
#[repr(C, align(8))]
struct Aligned(Key<SourceKey>);

#[inline(always)]
fn count(index: u32, bytes: u64) {
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: the element is this CPU's own, and an XDP program is not interrupted by another one on the same CPU;
        // userspace only reads.
        let counter = unsafe { &mut *counter };
        counter.packets = counter.packets.wrapping_add(1);
        counter.bytes = counter.bytes.wrapping_add(bytes);
    }
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
