//! The wires of a lab: a switch, a cable per node, addresses and routes.
//!
//! ```text
//!   client eth0 ──┐            ┌── eth0 web1   VIPs on lo
//!   10.77.0.1     ├── bridge ──┤   10.77.0.21
//!   lb     eth0 ──┘  "switch"  └── eth0 web2 ...
//!   10.77.0.2
//! ```
//! IPv6 is the same with fd77:: in front. The client reaches the VIPs through lb; the webs answer it directly.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{config::Mode, netns::Netns};

/// The address of the services, IPv4.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The address of the services, IPv6.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);

/// Where web servers listen besides port 80.
pub(super) const WEB_PORT: u16 = 8080;

/// Last byte of the balancer's addresses.
const LB: u8 = 2;
/// Last byte of those that its packets have as source where they have one of their own.
const POOL: u8 = 100;
/// Last byte of the client's.
const CLIENT: u8 = 1;

/// Room for an outer header of 40 bytes around what the client sends.
const MTU: u32 = 1600;
/// The client lives on the Internet.
const CLIENT_MTU: u32 = 1500;

/// The address of web `number`, counted from 1; a number without a web is an address that nobody has.
#[must_use]
pub fn web_address(number: u8, ipv6: bool) -> IpAddr {
    match ipv6 {
        false => IpAddr::V4(v4(20 + number)),
        true => IpAddr::V6(v6(20 + number)),
    }
}

/// The balancer's address that packets of mode `fullnat` come from.
#[must_use]
pub(super) fn pool_address(ipv6: bool) -> IpAddr {
    if ipv6 { v6(POOL).into() } else { v4(POOL).into() }
}

fn v4(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, host)
}

/// Written so that both families end in the same digits: 10.77.0.21 and fd77::21.
fn v6(host: u8) -> Ipv6Addr {
    let digits = u16::from(host / 100) << 8 | u16::from(host / 10 % 10) << 4 | u16::from(host % 10);
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, digits)
}

/// The namespaces of a lab.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) client: Netns,
    pub(super) lb: Netns,
    pub(super) webs: Vec<Netns>,
    pub(super) switch: Netns,
}

impl Network {
    /// Lays the cables of `webs` web servers, a client and a balancer.
    pub(super) fn create(lab: &str, webs: u8, mode: Mode) -> Result<Self> {
        let node = |name: &str| Netns::create(format!("{lab}-{name}"));
        let network = Self {
            switch: node("switch")?,
            client: node("client")?,
            lb: node("lb")?,
            webs: (1..=webs).map(|number| node(&format!("web{number}"))).collect::<Result<_>>()?,
        };
        network.set_kernel()?;
        network.plug_in()?;
        configure(&network.client, CLIENT, CLIENT_MTU, &routes_to_vips())?;
        configure(&network.lb, LB, MTU, &pool())?;
        let vips = if mode.keeps_vip() { vips_on_loopback() } else { String::new() };
        let more = vips + &routes_to_client(mode);
        for (web, number) in network.webs.iter().zip(1..) {
            configure(web, 20 + number, MTU, &more)?;
        }
        Ok(network)
    }

    /// Settings that links inherit when they are made.
    fn set_kernel(&self) -> Result<()> {
        // The bridge must not show frames to a firewall.
        self.switch.sysctl(&[
            ("net/bridge/bridge-nf-call-iptables", "0"),
            ("net/bridge/bridge-nf-call-ip6tables", "0"),
            ("net/bridge/bridge-nf-call-arptables", "0"),
            ("net/ipv6/conf/default/disable_ipv6", "1"),
        ])?;
        for node in [&self.client, &self.lb].into_iter().chain(&self.webs) {
            node.sysctl(&[
                // Addresses are ours alone: no second of waiting for duplicates.
                ("net/ipv6/conf/default/accept_dad", "0"),
                ("net/ipv6/conf/default/accept_ra", "0"),
                ("net/ipv4/conf/all/rp_filter", "0"),
                ("net/ipv4/conf/default/rp_filter", "0"),
            ])?;
        }
        // A router, as modes need one that translate.
        self.lb.sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")])?;
        // Connections by the thousand from one address.
        self.client.sysctl(&[("net/ipv4/ip_local_port_range", "1024 65535")])?;
        for web in &self.webs {
            // The VIPs on loopback are nobody else's business: neither answered for nor asked from.
            web.sysctl(&[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2")])?;
        }
        Ok(())
    }

    fn plug_in(&self) -> Result<()> {
        let mut batch = String::from("link add br0 type bridge stp_state 0 mcast_snooping 0\n");
        let webs = self.webs.iter().zip(1..).map(|(web, number)| (format!("web{number}"), web, MTU));
        let others = [("client".to_owned(), &self.client, CLIENT_MTU), ("lb".to_owned(), &self.lb, MTU)];
        for (node, netns, mtu) in others.into_iter().chain(webs) {
            writeln!(
                batch,
                "link add {node} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}\n\
                 link set {node} master br0 up",
                netns.name()
            )?;
        }
        batch.push_str("link set br0 up\n");
        ip(&self.switch, &batch)?;
        // The balancer's program would forward checksums that the sender left to its hardware.
        let mut ethtool = self.switch.command("ethtool");
        let done = ethtool.args(["-K", "lb", "tx", "off"]).output().context("ethtool cannot be started")?;
        if !done.status.success() {
            bail!("ethtool -K lb tx off: {}", String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(())
    }
}

fn configure(node: &Netns, host: u8, mtu: u32, more: &str) -> Result<()> {
    let (v4, v6) = (v4(host), v6(host));
    ip(
        node,
        &format!(
            "link set lo up\nlink set eth0 mtu {mtu} up\n\
             addr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0 nodad\n{more}"
        ),
    )
}

fn routes_to_vips() -> String {
    format!("route add {VIP4}/32 via {}\nroute add {VIP6}/128 via {}\n", v4(LB), v6(LB))
}

fn vips_on_loopback() -> String {
    format!("addr add {VIP4}/32 dev lo\naddr add {VIP6}/128 dev lo nodad\n")
}

/// What goes to the client fits there; in mode `nat` it has to come back the way that the client's packets went.
fn routes_to_client(mode: Mode) -> String {
    let (way4, way6) = match mode {
        Mode::Nat => (format!("via {}", v4(LB)), format!("via {}", v6(LB))),
        Mode::Dsr | Mode::Ipip | Mode::Gue | Mode::Fullnat => ("dev eth0".to_owned(), "dev eth0".to_owned()),
    };
    format!(
        "route add {}/32 {way4} mtu {CLIENT_MTU}\nroute add {}/128 {way6} mtu {CLIENT_MTU}\n",
        v4(CLIENT),
        v6(CLIENT)
    )
}

fn pool() -> String {
    format!(
        "addr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad\n",
        pool_address(false),
        pool_address(true)
    )
}

/// Runs lines of `ip -batch` on a namespace.
fn ip(netns: &Netns, batch: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    ip.args(["-n", netns.name(), "-batch", "-"]);
    ip.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = ip.spawn().context("ip (Debian: iproute2) cannot be started")?;
    // Dropped at the end of the statement: the end of the batch.
    child.stdin.take().context("ip has no input")?.write_all(batch.as_bytes())?;
    let done = child.wait_with_output()?;
    if !done.status.success() {
        bail!("ip -n {}: {}", netns.name(), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}
