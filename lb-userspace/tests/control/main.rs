//! The control plane from outside, without a data plane: the real binary, the real socket.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what is wanted")]

mod api;
mod check;
mod cli;
mod support;
