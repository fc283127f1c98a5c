//! Where things are: the workspace, its target directory, what is built there.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable for `cargo run`; the compiled-in value serves a binary that is started by hand.
    let xtask = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_path_buf)
}

/// Cargo's target directory, absolute: children run in another working directory.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => std::path::absolute(&dir).unwrap_or_else(|_| dir.into()),
        None => root().join("target"),
    }
}

/// Where the BPF build leaves the objects `xlb`, `decap` and `testbed`.
pub(crate) fn bpf_dir() -> PathBuf {
    bpf_target().join(crate::bpf::TARGET).join("release")
}

/// Target directory of the BPF build; its own, so that it never waits for the host build's lock.
pub(crate) fn bpf_target() -> PathBuf {
    target().join("bpf")
}

/// Where tools that had to be built live.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}
