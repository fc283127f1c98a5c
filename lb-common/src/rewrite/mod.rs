//! What is written into a frame once [`decide`](crate::decide) has decided.
//!
//! A rewrite gets a frame whose head has grown by [`Mode::overhead_bytes`](crate::abi::backend::Mode::overhead_bytes)
//! already. `None` means that the frame was shorter than its parsed self, which only a mistake in the shell can cause.

pub mod ipip;
pub mod l2;

use crate::abi::backend::Mode;
use crate::decide::Forward;
use crate::frame::Frame;

/// Writes everything that the decision asks for.
#[inline(always)]
#[must_use]
pub fn rewrite(frame: &mut Frame<'_>, forward: &Forward<'_>) -> Option<()> {
    match forward.mode {
        Mode::Dsr => l2::rewrite(frame, forward.backend),
        Mode::IpipV4 => ipip::v4(frame, forward),
        Mode::IpipV6 => ipip::v6(frame, forward),
    }
}
