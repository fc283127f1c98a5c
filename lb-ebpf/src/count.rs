//! One increment for each packet.

#![expect(unsafe_code, reason = "a per-CPU map element is reached through a raw pointer")]

use lb_common::abi::features::Features;

use crate::maps::{COUNTERS, FATE};
use crate::tables::features;

/// Adds one packet of `bytes` to a counter of `lb_common::abi::counters`, and a flow if it begins one. A dry run tells the counter
/// instead: that of a packet's fate comes behind those of events. What the program can do comes back, so that nobody reads it
/// twice for a packet.
#[inline(always)]
pub fn count(index: u32, bytes: u64, begins: bool) -> Features {
    let features = features();
    if features.has(Features::DRY_RUN) {
        if let Some(fate) = FATE.get_ptr_mut(0) {
            // SAFETY: the element is this CPU's own.
            unsafe { *fate = index + 1 };
        }
        return features;
    }
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: the element is this CPU's own, and an XDP program is not interrupted by another one on the same CPU;
        // userspace only reads.
        let counter = unsafe { &mut *counter };
        counter.packets = counter.packets.wrapping_add(1);
        counter.bytes = counter.bytes.wrapping_add(bytes);
        counter.new_flows = counter.new_flows.wrapping_add(u64::from(begins));
    }
    features
}

/// Adds one to an event's counter.
#[inline(always)]
pub fn count_event(index: u32) {
    let _ = count(index, 0, false);
}
