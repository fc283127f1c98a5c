//! One increment for each packet.

#![expect(unsafe_code, reason = "a per-CPU map element is reached through a raw pointer")]

use crate::maps::COUNTERS;

/// Adds one packet of `bytes` to a counter of `lb_common::abi::counters`.
#[inline(always)]
pub fn count(index: u32, bytes: u64) {
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: the element is this CPU's own, and an XDP program is not interrupted by another one on the same CPU;
        // userspace only reads.
        let counter = unsafe { &mut *counter };
        counter.packets = counter.packets.wrapping_add(1);
        counter.bytes = counter.bytes.wrapping_add(bytes);
    }
}
