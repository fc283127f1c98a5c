//! What one value must look like: rules without a file, so that the file and the API are judged alike.
//!
//! Each rule takes what was typed and returns the typed value, or the reason and the way out as the end of a sentence
//! that begins with the thing's name. Where a thing stands is `validate`'s business; where a reason names another line, the
//! rule gets it as words.

mod addresses;
mod names;
mod numbers;
mod slots;
mod together;
mod words;

pub(super) use addresses::{MAX_SOURCE_ADDRESSES, address, prefix, sources};
pub(super) use names::{host, interface, name, path};
pub(super) use numbers::{
    CHECK_TIMES, DEFAULT_WEIGHT, MAX_FLOWS, MAX_FRAGMENTS, default_burst, duration, idle_timeout, in_a_row,
    nat_flows, port, power_of_two, rate, rate_burst, server_id, weight,
};
pub(super) use slots::{node_slots, slots, slots_for};
pub(super) use together::{
    ModeKey, already_answers, already_used, encap_family, family_of_source, has_meaning, knows_new_flows,
    not_a_source, not_a_vip, one_family, quic_fits, same_family, server_id_fits, server_id_used,
    source_family, source_of, sources_family,
};
pub(super) use words::{mode, on_down, one_of, protocol, tracking, xdp_mode};
