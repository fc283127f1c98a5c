//! A network namespace with a name, and doing things inside it.
//!
//! Namespaces are made here rather than by `ip netns add`, which leaves /run/netns mounted on itself for ever; `ip -n
//! NAME` and `ip netns exec NAME` find them all the same.

use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, bail};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
};

/// Where `ip` looks for named namespaces.
pub(super) const RUN: &str = "/run/netns";

/// A namespace that exists as long as this value does.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: Arc<File>,
}

impl Netns {
    /// Makes a namespace, with its loopback down.
    pub(super) fn create(name: String) -> Result<Self> {
        let path = path(&name);
        // Another lab that ends just now may remove the directory in between.
        let mut attempts = 0;
        while let Err(error) = fs::create_dir_all(RUN).and_then(|()| File::create_new(&path)) {
            attempts += 1;
            if attempts == 5 {
                return Err(error).with_context(|| format!("cannot create {}", path.display()));
            }
        }
        thread::scope(|scope| {
            // A thread of its own: whoever unshares stays in the new namespace.
            let made = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).context("cannot create a network namespace")?;
                let flags = MsFlags::MS_BIND;
                mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, flags, None::<&str>)
                    .with_context(|| format!("cannot mount a network namespace on {}", path.display()))
            });
            made.join().unwrap_or_else(|_| bail!("creating a network namespace panicked"))
        })
        .inspect_err(|_| remove(&name))?;
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { name, file: Arc::new(file) })
    }

    /// Its name, as `ip -n` takes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Moves the calling thread in, for good. Sockets it opens belong to this namespace.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter(&self) -> Result<()> {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("cannot enter {}", self.name))
    }

    /// Runs `work` in a thread inside, and waits for it.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter()?;
                work()
            });
            inside.join().unwrap_or_else(|_| bail!("a thread inside {} panicked", self.name))
        })
    }

    /// A command whose process starts inside and dies with the thread that spawns it.
    ///
    /// Only the network differs: the process sees /sys/fs/bpf, which `ip netns exec` would hide.
    #[must_use]
    #[expect(unsafe_code, reason = "the child enters the namespace between fork and exec")]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let file = Arc::clone(&self.file);
        // A group of its own, so that Ctrl-C reaches us alone and we end things in order.
        command.stdin(Stdio::null()).process_group(0);
        // SAFETY: the closure makes three system calls; it neither allocates nor takes a lock.
        unsafe {
            command.pre_exec(move || {
                // The mask of `signals::handle` would be inherited.
                SigSet::empty().thread_set_mask()?;
                setns(file.as_fd(), CloneFlags::CLONE_NEWNET)?;
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                Ok(())
            })
        };
        command
    }

    /// Writes sysctls, each as `("net/ipv4/ip_forward", "1")`; those that this kernel lacks are left out.
    pub(super) fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (key, value) in settings {
                let file = Path::new("/proc/sys").join(key);
                if file.exists() {
                    fs::write(&file, value)
                        .with_context(|| format!("cannot set {} to {value}", file.display()))?;
                }
            }
            Ok(())
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Takes the name away; the namespace goes with its last user.
pub(super) fn remove(name: &str) {
    let path = path(name);
    // Fails if an earlier attempt got only half way.
    let _ = umount2(&path, MntFlags::MNT_DETACH);
    let _ = fs::remove_file(&path);
    // Succeeds when this was the last one.
    let _ = fs::remove_dir(RUN);
}

/// The file that names it.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(RUN).join(name)
}
