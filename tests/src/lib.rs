//! What the tests, the bench and the live view of the xlb load balancer share.

pub mod bench;
pub mod guest;
pub mod lab;
pub mod packets;
pub mod requirement;

use std::path::PathBuf;

/// The object with the programs of labs and bench, where `cargo xtask build` has put it.
#[must_use]
pub fn testbed_object() -> PathBuf {
    let directory = std::env::var_os("XLB_BPF_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/bpfel-unknown-none/release"),
        PathBuf::from,
    );
    directory.join("testbed")
}
