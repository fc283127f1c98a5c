//! Running programs, and saying so.
//!
//! Progress goes to standard error, so that standard output belongs to what is run.

use std::{
    env,
    ffi::OsString,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// One line about the step that follows.
pub(crate) fn say(step: &str, what: impl std::fmt::Display) {
    eprintln!("{step:>9}: {what}");
}

/// Runs a program whose output the user sees.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = name(command);
    let status = command.status().with_context(|| format!("{name} cannot be started"))?;
    if !status.success() {
        bail!("{name} failed ({status}): its messages are above");
    }
    Ok(())
}

/// Runs a program silently; `None` if it cannot be started or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Becomes the program, so that signals, terminal and exit code are its own.
pub(crate) fn exec(command: &mut Command) -> Result<()> {
    let name = name(command);
    Err(command.exec()).with_context(|| format!("{name} cannot be started"))
}

/// The file of a program on `PATH`.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    // Debian keeps /usr/sbin off the path of ordinary users; nginx and ethtool live there.
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    env::split_paths(&path).chain(sbin).map(|dir| dir.join(program)).find(|file| is_executable(file))
}

/// `PATH` with one more directory in front.
pub(crate) fn path_with(first: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(first.to_path_buf()).chain(env::split_paths(&path));
    env::join_paths(dirs).with_context(|| format!("{} cannot be put on PATH", first.display()))
}

/// Whether we are root: /proc/self belongs to the effective user.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|proc| proc.uid() == 0)
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// How a person would name the command: the program and its first words.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = command.get_args().take(4).map(|arg| arg.to_string_lossy());
    let line: Vec<_> = std::iter::once(program.to_string_lossy()).chain(words).collect();
    format!("`{}`", line.join(" "))
}
