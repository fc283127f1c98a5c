//! The control plane from outside, without a data plane: the real binary, the real socket.

mod api;
mod check;
mod cli;
mod support;
