//! The balancer's configuration file, as a lab writes it.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use super::network::{VIP4, VIP6, WEB_PORT, pool_address, web_address};

/// Quick, so that tests are.
const CHECK: &str = r#"
[service.check]
kind = "http"
path = "/healthz"
interval = "100ms"
timeout = "100ms"
rise = 2
fall = 2
"#;

/// How the balancer forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To the backend's MAC address.
    Dsr,
    /// In an outer header.
    Ipip,
    /// In an outer header and UDP.
    Gue,
    /// With the web's address and another port; it answers through the balancer.
    Nat,
    /// The same, and with an address of the balancer's as source.
    Fullnat,
}

impl Mode {
    /// Whether the destination of a packet stays the VIP.
    pub(super) const fn keeps_vip(self) -> bool {
        matches!(self, Self::Dsr | Self::Ipip | Self::Gue)
    }
}

/// One service `web` on port 80 with backends `web1`, `web2` and so on.
#[derive(Clone, Debug)]
pub struct Config {
    /// How it forwards.
    pub mode: Mode,
    /// Family of VIP and backends.
    pub ipv6: bool,
    /// Weight of each backend.
    pub weights: Vec<u32>,
    /// `native` or `generic`.
    pub xdp_mode: &'static str,
    /// Whether backends are checked.
    pub check: bool,
    /// After which silence a flow has ended.
    pub idle_timeout: &'static str,
}

impl Config {
    /// Three equal backends over IPv4.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            ipv6: false,
            weights: vec![1, 1, 1],
            xdp_mode: "native",
            check: true,
            idle_timeout: "5m",
        }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn service(&self) -> SocketAddr {
        SocketAddr::new(self.vip(), 80)
    }

    /// The service's address.
    #[must_use]
    pub fn vip(&self) -> IpAddr {
        if self.ipv6 { VIP6.into() } else { VIP4.into() }
    }

    /// The file's text.
    #[must_use]
    pub fn toml(&self) -> String {
        let mode = match self.mode {
            Mode::Dsr => "dsr",
            Mode::Ipip => "ipip",
            Mode::Gue => "gue",
            Mode::Nat => "nat",
            Mode::Fullnat => "fullnat",
        };
        let mut text = format!(
            r#"[node]
name = "lb1"
interfaces = ["eth0"]
xdp_mode = "{}"

[[service]]
name = "web"
address = "{}"
port = 80
protocol = "tcp"
mode = "{mode}"
idle_timeout = "{}"
"#,
            self.xdp_mode,
            self.vip(),
            self.idle_timeout
        );
        if self.mode == Mode::Fullnat {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "source_addresses = [\"{}\"]", pool_address(self.ipv6));
        }
        if self.check {
            text.push_str(CHECK);
        }
        for (weight, number) in self.weights.iter().zip(1..) {
            let address = web_address(number, self.ipv6);
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n[[service.backend]]\nname = \"web{number}\"\naddress = \"{address}\"\nweight = {weight}\n"
            );
            if !self.mode.keeps_vip() {
                let _ = writeln!(text, "port = {WEB_PORT}");
            }
        }
        text
    }
}
