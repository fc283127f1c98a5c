//! Where maps wait for another program that is to use them: a BPF file system that is mounted nowhere.
//!
//! A loader gives a program existing maps by the names they are pinned under. This file system is a descriptor of this process
//! and no path of the machine, so it goes with the process, however that ends.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// A file system of our own.
pub(super) struct Shelf(OwnedFd);

impl Shelf {
    /// An empty one.
    pub(super) fn new() -> io::Result<Self> {
        let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        Ok(Self(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?))
    }

    /// The path of a name there, in this process.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}
