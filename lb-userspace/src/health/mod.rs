//! Is a backend fit for traffic? Checks find out, and tell the core loop when the answer changes.
//!
//! ```text
//!   driver (one task per backend, owns the timer)
//!     |  probe::run ------> backend            one try: tcp or http
//!     |  machine.observe    rise and fall      pure: no I/O, no clock
//!     +--Event----------->  core loop          health changed, or the reason of its failures
//! ```
//!
//! Which backends are checked, and what follows from their health, is decided by the core loop.

pub mod driver;
pub mod machine;
pub mod probe;

pub use driver::{Checker, Event, Target, spawn};
pub use machine::Health;
