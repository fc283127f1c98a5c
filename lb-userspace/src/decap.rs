//! `xlb decap`, the receiving side of the modes `ipip` and `gue` on a backend: from what was typed to an attached program, and
//! what it has counted in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io;
use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use lb_common::abi::control::MAX_MACS;
use lb_common::abi::counters::Counter;
use lb_common::decap::{DropReason, PassReason};
use nix::ifaddrs::getifaddrs;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{self, host};
use crate::dataplane::decap::{Counters, Decap, Rules};
use crate::dataplane::kernel::Attached;
use crate::model::{Prefix, XdpMode};

/// What `xlb decap` was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Interfaces to attach to.
    pub interfaces: Vec<String>,
    /// Prefixes of outer sources.
    pub from: Vec<String>,
    /// Inner destinations.
    pub vips: Vec<String>,
    /// Destination port of GUE; not 0.
    pub gue_port: u16,
    /// Whether to attach in the network stack at once.
    pub generic: bool,
}

/// A program at work on its interfaces; dropping it takes it off.
pub struct Receiver {
    program: Decap,
    rules: Rules,
    attached: Vec<(String, Attached)>,
    /// An interface that takes no program in its driver, where that was asked for.
    slow: Vec<String>,
    terminate: Signal,
    interrupt: Signal,
}

impl Receiver {
    /// Loads the program and attaches it. Needs a tokio runtime, for the signals that end it.
    ///
    /// # Errors
    /// What is wrong with the options, or what the system refused; the program is on no interface then.
    pub fn start(options: &Options) -> Result<Self> {
        let interfaces = interfaces(&options.interfaces)?;
        let rules = rules(options, interfaces.values().copied())?;
        // Before it is attached: a signal that comes meanwhile is not lost.
        let terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
        let interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
        let mut program = Decap::load(&rules)?;
        let mode = if options.generic { XdpMode::Generic } else { XdpMode::Auto };
        let (mut attached, mut slow) = (Vec::new(), Vec::new());
        for interface in interfaces.into_keys() {
            let how = program.attach(&interface, mode)?;
            if how == Attached::Generic && !options.generic {
                slow.push(interface.clone());
            }
            attached.push((interface, how));
        }
        Ok(Self { program, rules, attached, slow, terminate, interrupt })
    }

    /// What an operator has to know: interfaces on which it is slower than it could be, a line each.
    #[must_use]
    pub fn notice(&self) -> String {
        let line = |interface: &String| {
            format!(
                "interface {interface}: its driver takes no native XDP program: this one runs in the network stack, \
                 which is slower\n"
            )
        };
        self.slow.iter().map(line).collect()
    }

    /// Waits until it is told to stop, and takes the program off.
    pub async fn until_told_to_stop(mut self) -> Report {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        Report(self.program.detach())
    }
}

impl fmt::Display for Receiver {
    /// One line: what it does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attached = self.attached.iter().map(|(interface, how)| match how {
            Attached::Native => format!("{interface} (native)"),
            Attached::Generic => format!("{interface} (generic)"),
        });
        write!(
            f,
            "on {}: taking off ipip, and gue on port {}, from {} to {}",
            listed(attached),
            self.rules.gue_port,
            listed(self.rules.sources.iter().map(Prefix::to_string)),
            listed(self.rules.vips.iter().map(IpAddr::to_string)),
        )
    }
}

fn listed(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// What a program has counted.
pub struct Report(Counters);

impl Report {
    /// Every counter, a line each, exact.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn lines(&self) -> io::Result<String> {
        let Self(counters) = self;
        let mut text = String::new();
        line(&mut text, "decapsulated", &counters.decapsulated()?);
        for reason in PassReason::ALL {
            line(&mut text, &format!("passed, {}", reason.name()), &counters.passed(*reason)?);
        }
        for reason in DropReason::ALL {
            line(&mut text, &format!("dropped, {}", reason.name()), &counters.dropped(*reason)?);
        }
        Ok(text)
    }
}

fn line(text: &mut String, fate: &str, Counter { packets, bytes, .. }: &Counter) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{fate}: {packets} packets, {bytes} bytes");
}

/// MAC addresses of the interfaces that were named.
fn interfaces(named: &[String]) -> Result<BTreeMap<String, [u8; 6]>> {
    ensure!(
        !named.is_empty(),
        "no --interface: name the one that packets come in on, as in --interface eth0"
    );
    let links = links().context("cannot list this host's interfaces")?;
    let known: Vec<&str> = links.keys().map(String::as_str).collect();
    let mut found = BTreeMap::new();
    for name in named {
        let Some(mac) = links.get(name) else { bail!(host::unknown(name, "", &known)) };
        let mac = mac.with_context(|| {
            format!(
                "interface {name} has no MAC address: name the Ethernet interface that packets come in on"
            )
        })?;
        found.insert(name.clone(), mac);
    }
    Ok(found)
}

/// Interfaces of this network namespace, with the MAC addresses of those that are Ethernet.
fn links() -> nix::Result<BTreeMap<String, Option<[u8; 6]>>> {
    let mut links = BTreeMap::new();
    for one in getifaddrs()? {
        if let Some(link) = one.address.as_ref().and_then(|address| address.as_link_addr()) {
            links.insert(one.interface_name, link.addr().filter(|_| link.halen() == 6));
        }
    }
    Ok(links)
}

fn rules(options: &Options, macs: impl Iterator<Item = [u8; 6]>) -> Result<Rules> {
    ensure!(
        !options.from.is_empty(),
        "no --from: name the addresses that balancers send from, as in --from 192.0.2.1 or --from 172.16.0.0/16"
    );
    ensure!(
        !options.vips.is_empty(),
        "no --vip: name the addresses of the services that this host serves, as in --vip 192.0.2.10"
    );
    let sources: Result<BTreeSet<Prefix>, String> =
        options.from.iter().map(|typed| config::prefix("--from", typed)).collect();
    let vips: Result<BTreeSet<IpAddr>, String> =
        options.vips.iter().map(|typed| config::address("--vip", typed)).collect();
    let macs: BTreeSet<[u8; 6]> = macs.collect();
    ensure!(
        macs.len() <= MAX_MACS,
        "the interfaces have {} MAC addresses: one xlb decap takes {MAX_MACS}, run another for the rest",
        macs.len()
    );
    Ok(Rules {
        macs: macs.into_iter().collect(),
        sources: sources.map_err(anyhow::Error::msg)?.into_iter().collect(),
        vips: vips.map_err(anyhow::Error::msg)?.into_iter().collect(),
        gue_port: options.gue_port,
    })
}
