//! What is written into a frame once [`decide`](crate::decide) has decided.
//!
//! A rewrite gets a frame that has its final size: whose head has grown by
//! [`Mode::overhead_bytes`](crate::abi::backend::Mode::overhead_bytes), or as [`answer::Size`] says. `None` means that the frame
//! was shorter than its parsed self, which only a mistake in the shell can cause.

pub mod answer;
pub mod gue;
pub mod ipip;
pub mod l2;
pub mod nat;

use crate::abi::backend::{Backend, Mode};
use crate::abi::connection::Tuple;
use crate::abi::features::Features;
use crate::checksum;
use crate::decide::{Change, End, Forward};
use crate::frame::Frame;

/// Writes everything that the decision asks for, as far as the loaded program has the `features`. `PLAIN` says that [`plain`](crate::decide::plain) has decided: what it leaves to
/// others does not stand in the program then. `out` is what the packet is to say in mode `fullnat`.
#[inline(always)]
#[must_use]
pub fn rewrite<const PLAIN: bool>(
    frame: &mut Frame<'_>,
    features: Features,
    forward: &Forward,
    backend: &Backend,
    out: &Tuple,
) -> Option<()> {
    let packet = &forward.packet;
    match forward.mode {
        Mode::IpipV4 | Mode::IpipV6 if !features.has(Features::IPIP) => None,
        Mode::GueV4 | Mode::GueV6 if !features.has(Features::GUE) => None,
        Mode::Nat if !features.has(Features::NAT) => None,
        Mode::Fullnat if PLAIN || !features.has(Features::FULLNAT) => None,
        Mode::Dsr => {
            l2::rewrite(frame, backend)?;
            decrement(frame, packet.l3(), packet.is_v4)
        }
        Mode::IpipV4 => ipip::v4(frame, forward, backend),
        Mode::IpipV6 => ipip::v6(frame, forward, backend),
        Mode::GueV4 => gue::v4(frame, forward, backend),
        Mode::GueV6 => gue::v6::<PLAIN>(frame, forward, backend),
        Mode::Nat => {
            l2::rewrite(frame, backend)?;
            nat::to_backend::<PLAIN>(frame, packet, backend)
        }
        Mode::Fullnat => {
            l2::rewrite(frame, backend)?;
            nat::translate(frame, packet, &change(out))?;
            decrement(frame, packet.l3(), packet.is_v4)
        }
    }
}

/// What a packet of a connection is to say.
#[inline(always)]
const fn change(out: &Tuple) -> Change {
    let [a, b, c, d] = out.ports;
    Change {
        source: Some(End { address: out.source, port: [a, b] }),
        destination: Some(End { address: out.destination, port: [c, d] }),
    }
}

/// One hop less to live, as a router has it (RFC 1812, 5.3.1; RFC 8200, 3).
#[inline(always)]
#[must_use]
pub fn decrement(frame: &mut Frame<'_>, l3_offset: usize, is_v4: bool) -> Option<()> {
    if is_v4 {
        let word = frame.get_mut::<[u8; 4]>(l3_offset + 8)?;
        let [ttl, protocol, high, low] = *word;
        let [high, low] = checksum::update([high, low], HOP);
        *word = u32::from_ne_bytes([ttl.wrapping_sub(1), protocol, high, low]).to_ne_bytes();
        return Some(());
    }
    let hop_limit = frame.get_mut::<u8>(l3_offset + 7)?;
    *hop_limit = hop_limit.wrapping_sub(1);
    Some(())
}

/// What the sum of an IPv4 header changes by when the time to live is one less: it is the high byte of its word.
const HOP: u16 = !0x0100;
