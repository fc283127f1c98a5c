//! Waiting: for a condition, with a deadline, and until somebody wants us to stop.
//!
//! The only pause of the tests is here; everything else waits for something that can be seen.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

const PAUSE: Duration = Duration::from_millis(10);

static STOP: AtomicBool = AtomicBool::new(false);

/// Makes every wait, present and future, end with an error: somebody wants us to stop.
pub fn stop() {
    STOP.store(true, Ordering::Relaxed);
}

/// Whether [`stop`] was called.
#[must_use]
pub fn stopping() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Calls `probe` until it succeeds; its last error says why it never did.
///
/// # Errors
/// `limit` is over, or [`stop`] was called.
pub fn until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Result<T>) -> Result<T> {
    poll(what, limit, stopping, probe)
}

/// As [`until`], but [`stop`] does not end it: for cleaning up.
///
/// # Errors
/// `limit` is over.
pub fn regardless<T>(what: &str, limit: Duration, probe: impl FnMut() -> Result<T>) -> Result<T> {
    poll(what, limit, || false, probe)
}

fn poll<T>(
    what: &str,
    limit: Duration,
    interrupted: impl Fn() -> bool,
    mut probe: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let error = match probe() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if interrupted() {
            bail!("interrupted while waiting for {what}");
        }
        if Instant::now() >= deadline {
            return Err(error).with_context(|| format!("{what} did not happen within {limit:?}"));
        }
        pause(PAUSE);
    }
}

/// Lets time pass; for pacing traffic and between two polls, never to wait for an event.
pub fn pause(time: Duration) {
    let deadline = Instant::now() + time;
    // A parked thread may wake early.
    while let Some(rest) = deadline.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
        thread::park_timeout(rest);
    }
}
