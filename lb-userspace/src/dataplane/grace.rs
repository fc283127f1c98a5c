//! Waiting for packets that are still being worked on.
//!
//! An XDP program runs inside an RCU read section, so one RCU grace period after a table stopped naming something, no packet
//! can meet it any more. `membarrier(MEMBARRIER_CMD_GLOBAL)` is the system call that waits for one (kernel/sched/membarrier.c
//! calls `synchronize_rcu`). It takes milliseconds, so a thread of its own waits.

#![expect(unsafe_code, reason = "the system call has no wrapper")]

use std::thread::JoinHandle;
use std::time::Duration;

use nix::libc;

/// A grace period that has begun.
#[must_use]
pub struct Grace(Option<JoinHandle<()>>);

/// From linux/membarrier.h.
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Longer than any XDP program may run; for kernels with `nohz_full` CPUs, which refuse the system call.
const LONGER_THAN_A_PACKET: Duration = Duration::from_millis(200);

impl Grace {
    /// Begins one for the packets of this kernel.
    pub(super) fn begin() -> Self {
        let spawned = std::thread::Builder::new().name("grace".to_owned()).spawn(|| {
            if !membarrier() {
                std::thread::park_timeout(LONGER_THAN_A_PACKET);
            }
        });
        match spawned {
            Ok(thread) => Self(Some(thread)),
            Err(_) => {
                membarrier();
                Self(None)
            }
        }
    }

    /// One that is over: there are no packets.
    pub(super) const fn over() -> Self {
        Self(None)
    }

    /// One that is over when the thread is.
    #[cfg(test)]
    pub(crate) const fn of(thread: JoinHandle<()>) -> Self {
        Self(Some(thread))
    }

    /// Waits until it is over.
    pub fn wait(self) {
        if let Some(thread) = self.0 {
            // The thread does not panic; had it done, time has passed all the same.
            let _ = thread.join();
        }
    }
}

fn membarrier() -> bool {
    // SAFETY: takes three integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_ends() {
        let (over, is_over) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            Grace::begin().wait();
            Grace::over().wait();
            over.send(()).unwrap();
        });
        assert!(is_over.recv_timeout(Duration::from_secs(10)).is_ok());
    }
}
