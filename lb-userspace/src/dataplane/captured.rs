//! Packets that the program hands out for a capture.

use lb_common::abi::capture::Captured;

use super::Dataplane;

/// A data plane that can capture packets, while its program has [`Features::CAPTURE`](lb_common::abi::features::Features::CAPTURE).
pub trait Capturing: Dataplane {
    /// The next captured packet, if one waits.
    fn next_captured(&mut self) -> Option<Box<Captured>>;
}
