//! The Unix socket of the API: who may connect, what to do with one that is left over, and its removal.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::net::UnixListener;

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT_PATH: &str = "/run/xlb/xlb.sock";

/// Owner and group may ask and change everything, others nothing.
const MODE: u32 = 0o660;
/// `sun_path` of unix(7) less its final zero.
const MAX_PATH_BYTES: usize = 107;

/// A listening socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// The file of a socket, removed on drop unless another process has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|now| now.ino() == self.inode) {
            // Nothing is lost when it stays: the next daemon replaces a socket that nobody answers.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens at `path`; creates its directory, and replaces a socket that a dead daemon has left.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// A live daemon on the same socket, a file of another kind, a path too long for a socket, no permission.
pub fn bind(path: &Path) -> anyhow::Result<Socket> {
    let shown = path.display();
    let length = path.as_os_str().len();
    if length > MAX_PATH_BYTES {
        bail!(
            "socket {shown}: its path has {length} bytes, a unix socket allows {MAX_PATH_BYTES}: choose a shorter one \
             with --socket"
        );
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("socket {shown}: cannot create its directory {}", parent.display()))?;
    }
    remove_dead(path)?;
    let listener = UnixListener::bind(path).with_context(|| format!("socket {shown}: cannot listen"))?;
    let inode =
        std::fs::symlink_metadata(path).with_context(|| format!("socket {shown}: has vanished"))?.ino();
    let file = SocketFile { path: path.to_owned(), inode };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))
        .with_context(|| format!("socket {shown}: cannot set its mode to {MODE:o}"))?;
    Ok(Socket { listener, file })
}

fn remove_dead(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("socket {shown}: cannot be examined")),
    };
    if !metadata.file_type().is_socket() {
        bail!("socket {shown}: there is a file of another kind: choose another path with --socket");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .with_context(|| format!("socket {shown}: cannot remove the one left over")),
        // Full queue of connections, or no permission: somebody is there all the same.
        Ok(_) | Err(_) => {
            bail!("socket {shown} is in use by another xlb: stop it, or choose another with --socket")
        }
    }
}
