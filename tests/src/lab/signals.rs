//! SIGINT, SIGTERM and SIGHUP end a lab in good order: waits fail, guards are dropped, nothing stays behind.

use std::thread;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal, raise};

use super::{leftovers, wait};

/// Takes these signals for this thread and those it starts later; call it first in `main`.
///
/// The first one calls [`wait::stop`] and `on_stop`. A second one removes what this process has made, whatever is
/// still using it, and ends the process.
///
/// # Errors
/// The signal mask cannot be changed.
pub fn handle(on_stop: impl FnOnce() + Send + 'static) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGHUP);
    signals.thread_block().context("cannot block signals")?;
    thread::spawn(move || {
        let mut on_stop = Some(on_stop);
        while let Ok(signal) = signals.wait() {
            wait::stop();
            match on_stop.take() {
                Some(on_stop) => on_stop(),
                None => {
                    leftovers::remove_own();
                    let _ = SigSet::empty().thread_set_mask();
                    let _ = raise(signal);
                }
            }
        }
    });
    Ok(())
}
