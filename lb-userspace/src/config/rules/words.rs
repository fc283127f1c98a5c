//! Words out of a fixed set.

use crate::model::{Mode, OnDown, Protocol, Tracking, XdpMode};
use crate::nearest::nearest;

pub(in crate::config) fn protocol(typed: &str) -> Result<Protocol, String> {
    one_of("protocol", typed, &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)])
}

pub(in crate::config) fn mode(typed: &str) -> Result<Mode, String> {
    let known = [
        ("dsr", Mode::Dsr),
        ("ipip", Mode::Ipip),
        ("gue", Mode::Gue),
        ("nat", Mode::Nat),
        ("fullnat", Mode::Fullnat),
    ];
    one_of("mode", typed, &known)
}

pub(in crate::config) fn tracking(typed: &str) -> Result<Tracking, String> {
    let known = [("adaptive", Tracking::Adaptive), ("full", Tracking::Full), ("off", Tracking::Off)];
    one_of("tracking", typed, &known)
}

pub(in crate::config) fn on_down(typed: &str) -> Result<OnDown, String> {
    one_of("on_down", typed, &[("reset", OnDown::Reset), ("hold", OnDown::Hold)])
}

pub(in crate::config) fn xdp_mode(typed: &str) -> Result<XdpMode, String> {
    let known = [("native", XdpMode::Native), ("generic", XdpMode::Generic), ("auto", XdpMode::Auto)];
    one_of("xdp_mode", typed, &known)
}

/// The value whose word was typed; `key` is what the word was typed for.
pub(in crate::config) fn one_of<T: Copy>(key: &str, typed: &str, known: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = known.iter().find(|(word, _)| *word == typed) {
        return Ok(*value);
    }
    let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
    let hint = match nearest(typed, words.iter().copied()) {
        Some(word) => format!("did you mean {word}?"),
        None => format!("choose {}", words.join(" or ")),
    };
    Err(format!("{key} {typed:?} is unknown: {hint}"))
}
