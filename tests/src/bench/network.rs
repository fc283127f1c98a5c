//! The network that the bench's frames are in: a namespace of its own, with a route to the client.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};

/// Whose frames all are.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 7);

/// Moves the calling thread, and what it starts, into a network namespace where packets to the client are forwarded.
///
/// # Errors
/// When `ip` cannot be started, or what it does is not permitted.
pub fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace cannot be made")?;
    let batch = format!(
        "link set lo up\n\
         link add out type veth peer name in\n\
         link set out up\n\
         link set in up\n\
         address add 198.18.0.1/24 dev out\n\
         neighbor add {CLIENT} lladdr 02:00:00:00:00:01 dev out nud permanent\n"
    );
    let mut ip = Command::new("ip");
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ip.spawn().context("ip (Debian: iproute2) cannot be started")?;
    child.stdin.take().context("ip has no input")?.write_all(batch.as_bytes())?;
    let done = child.wait_with_output()?;
    ensure!(done.status.success(), "ip: {}", String::from_utf8_lossy(&done.stderr).trim());
    let forwarding = "/proc/sys/net/ipv4/ip_forward";
    std::fs::write(forwarding, "1").with_context(|| format!("{forwarding} cannot be written"))
}
