//! What a lab that was killed leaves behind, and removing it.
//!
//! A lab called `xlb-PID-N` owns the namespaces `xlb-PID-N-*`, what runs in them, and the directory of that name,
//! where it holds a lock. It is dead when its process is, or when the lock is free: then somebody else has the PID.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use anyhow::{Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{netns, wait};

/// The file in a lab's directory that its process keeps locked.
pub(super) const LOCK: &str = "lock";

/// The directory of a lab.
pub(super) fn directory(lab: &str) -> PathBuf {
    std::env::temp_dir().join(lab)
}

/// Removes what dead labs have left behind; gives their names.
pub fn remove_dead() -> Vec<String> {
    let dead: Vec<String> = labs().into_iter().filter(|lab| is_dead(lab)).collect();
    dead.iter().for_each(|lab| remove(lab));
    dead
}

/// Removes everything that this process has made, used or not.
pub(super) fn remove_own() {
    labs().iter().filter(|lab| owner(lab) == Some(process::id())).for_each(|lab| remove(lab));
}

/// Names of this process's namespaces and directories that are still there.
#[must_use]
pub fn own() -> Vec<String> {
    labs().into_iter().filter(|lab| owner(lab) == Some(process::id())).collect()
}

/// Every lab that a namespace or a directory tells of.
fn labs() -> BTreeSet<String> {
    let directories = names(&std::env::temp_dir());
    let namespaces = names(Path::new(netns::RUN));
    let labs = namespaces.iter().filter_map(|name| name.rsplit_once('-')).map(|(lab, _node)| lab.to_owned());
    labs.chain(directories).filter(|lab| owner(lab).is_some()).collect()
}

/// The process of `xlb-PID-N`.
fn owner(lab: &str) -> Option<u32> {
    let (pid, number) = lab.strip_prefix("xlb-")?.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

fn is_dead(lab: &str) -> bool {
    let Some(pid) = owner(lab) else { return false };
    if !Path::new("/proc").join(pid.to_string()).exists() {
        return true;
    }
    // No lock file: the lab is just starting or just ending.
    File::open(directory(lab).join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

fn remove(lab: &str) {
    let prefix = format!("{lab}-");
    let namespaces: Vec<String> =
        names(Path::new(netns::RUN)).into_iter().filter(|name| name.starts_with(&prefix)).collect();
    let inodes: Vec<u64> = namespaces
        .iter()
        .filter_map(|name| netns::path(name).metadata().ok())
        .map(|file| file.ino())
        .collect();
    let gone = wait::regardless("the end of a dead lab's processes", Duration::from_secs(5), || {
        let alive = processes_in(&inodes);
        alive.iter().for_each(|pid| {
            let _ = kill(*pid, Signal::SIGKILL);
        });
        if !alive.is_empty() {
            bail!("{} of them are still there", alive.len());
        }
        Ok(())
    });
    if let Err(error) = gone {
        eprintln!("{lab}: {error:#}");
    }
    namespaces.iter().for_each(|name| netns::remove(name));
    let _ = fs::remove_dir_all(directory(lab));
}

/// Processes, other than this one, whose network is one of these namespaces.
fn processes_in(inodes: &[u64]) -> Vec<Pid> {
    let pids = names(Path::new("/proc")).into_iter().filter_map(|name| name.parse::<i32>().ok());
    pids.filter(|pid| u32::try_from(*pid) != Ok(process::id()))
        .filter(|pid| {
            let network = Path::new("/proc").join(pid.to_string()).join("ns/net");
            network.metadata().is_ok_and(|network| inodes.contains(&network.ino()))
        })
        .map(Pid::from_raw)
        .collect()
}

/// Names in a directory; none if it cannot be read.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Takes the lock of a lab's new directory, in one step for those who look from outside.
pub(super) fn lock(directory: &Path) -> Result<File> {
    let unlocked = directory.join("lock.new");
    let file = File::create(&unlocked)?;
    file.lock()?;
    fs::rename(&unlocked, directory.join(LOCK))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn owner_is_read_from_the_name() {
        assert_eq!(owner("xlb-4711-0"), Some(4711));
        assert_eq!(owner("xlb-4711"), None);
        assert_eq!(owner("xlb-build-0"), None);
        assert_eq!(owner("other-4711-0"), None);
    }
}
