//! The grammar of the command line, as clap reads it; doc comments are its help.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lb_common::rewrite::gue;

use crate::api::socket::DEFAULT_PATH;
use crate::api::types::Transport;
use crate::config;
use crate::nearest::way_out;

/// What `--log` takes, beside directives such as `lb_userspace::health=debug`.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Layer-4 load balancer: `xlb run` is the daemon, everything else asks it.
#[derive(Debug, Parser)]
#[command(name = "xlb", version, after_help = EXIT_CODES)]
pub(super) struct Cli {
    /// Socket of the daemon.
    #[arg(long, global = true, value_name = "PATH", env = "XLB_SOCKET", default_value = DEFAULT_PATH)]
    pub(super) socket: PathBuf,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 3 invalid config";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Balance traffic until told to stop.
    Run(Run),
    /// Say whether a configuration is valid, and what is wrong with it.
    Check {
        /// The configuration.
        file: PathBuf,
        /// Also check that it fits this machine: that its interfaces exist.
        #[arg(long)]
        host: bool,
    },
    /// Show the node: where it is attached, how much is serving, what was passed, dropped and answered.
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Say what becomes of a packet, and why: service, slot, backend, way out, or the reason why not.
    Explain(Explain),
    /// Write packets to a file, as they came and as they left, with what became of them.
    Capture(Capture),
    /// Services: address, port and protocol that clients use.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Backends: the servers behind a service, named SERVICE/NAME.
    #[command(subcommand)]
    Backend(BackendCommand),
    /// On a backend: take off the outer headers that a balancer puts on in the modes ipip and gue, until told to stop.
    Decap(Decap),
}

#[derive(Args, Debug)]
pub(super) struct Decap {
    /// Attach to this interface; may be given again.
    #[arg(long = "interface", value_name = "IF", num_args = 1..)]
    pub(super) interfaces: Vec<String>,
    /// Take packets whose outer source is in this prefix: the balancers' addresses, or their encap_source; may be given again.
    #[arg(long, value_name = "PREFIX", num_args = 1..)]
    pub(super) from: Vec<String>,
    /// Take packets whose inner destination is this address of a service; may be given again.
    #[arg(long = "vip", value_name = "ADDRESS", num_args = 1..)]
    pub(super) vips: Vec<String>,
    /// The port that balancers send gue to.
    #[arg(long, value_name = "P", default_value_t = gue::DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) gue_port: u16,
    /// Run in the network stack at once, instead of where the driver refuses.
    #[arg(long)]
    pub(super) generic: bool,
}

#[derive(Args, Debug)]
pub(super) struct Run {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Attach to this interface instead of those in the file; may be given again.
    #[arg(long = "interface", value_name = "IF")]
    pub(super) interfaces: Vec<String>,
    /// How much to log: off, error, warn, info, debug, trace, or directives as `lb_userspace::health=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log)]
    pub(super) log: String,
    /// Log packets that are dropped. For finding a fault, not for production.
    #[arg(long)]
    pub(super) trace_drops: bool,
}

#[derive(Args, Debug)]
#[group(skip)]
pub(super) struct Explain {
    /// Where the packet comes from, as 198.51.100.7:40000 or [2001:db8::7]:40000; for icmp without a port.
    #[arg(
        long,
        value_name = "A:P",
        requires = "to",
        required_unless_present = "pcap",
        conflicts_with = "pcap"
    )]
    pub(super) from: Option<String>,
    /// Where it goes.
    #[arg(long, value_name = "V:P", requires = "from")]
    pub(super) to: Option<String>,
    /// What it is.
    #[arg(long, value_enum, default_value_t = Transport::Tcp, conflicts_with = "pcap")]
    pub(super) protocol: Transport,
    /// It begins a connection; else it belongs to one, and has the flag ACK.
    #[arg(long, conflicts_with = "pcap")]
    pub(super) syn: bool,
    /// Take a packet of this capture, pcap or pcapng, as it stands there.
    #[arg(long, value_name = "FILE", requires = "number")]
    pub(super) pcap: Option<PathBuf>,
    /// Which packet of the capture, counted from 1.
    #[arg(long, value_name = "N", requires = "pcap")]
    pub(super) number: Option<usize>,
    /// Where it comes in; the first attached interface when it is not given.
    #[arg(long, value_name = "IF")]
    pub(super) interface: Option<String>,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Args, Debug)]
pub(super) struct Capture {
    /// The file, pcapng; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) write: PathBuf,
    /// Only packets to this service.
    #[arg(long, value_name = "SERVICE", value_parser = config::name)]
    pub(super) service: Option<String>,
    /// Only packets from this network, as 198.51.100.0/24, or from this address.
    #[arg(long, value_name = "PREFIX")]
    pub(super) from: Option<String>,
    /// Only packets that were passed, dropped or answered for this reason.
    #[arg(long, value_name = "REASON")]
    pub(super) reason: Option<String>,
    /// End after so many packets.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ServiceCommand {
    /// List the services.
    List {
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum BackendCommand {
    /// List the backends of a service, or of all.
    List {
        /// Only of this service.
        #[arg(value_parser = config::name)]
        service: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Add a backend to a service.
    Add {
        /// Where and what to call it.
        #[arg(value_name = "SERVICE/NAME")]
        backend: BackendName,
        /// Its IP address.
        #[arg(long, value_name = "A")]
        address: String,
        /// Its share of new flows relative to the others, 0 to 1000.
        #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
        weight: i64,
        /// The port that it listens at, in modes nat and fullnat; the service's when it is not given.
        #[arg(long, value_name = "P", allow_negative_numbers = true)]
        port: Option<i64>,
        /// What its QUIC connection IDs say, in a service with quic.
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        server_id: Option<i64>,
    },
    /// Delete a backend from its service.
    Delete {
        /// Which one.
        #[arg(value_name = "SERVICE/NAME")]
        backend: BackendName,
    },
    /// Give a backend no new flows.
    Drain {
        /// Which one.
        #[arg(value_name = "SERVICE/NAME")]
        backend: BackendName,
    },
    /// Let a backend take new flows again, as its health allows.
    Ready {
        /// Which one.
        #[arg(value_name = "SERVICE/NAME")]
        backend: BackendName,
    },
}

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Output {
    /// How to show the answer.
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people, with units.
    Table,
    /// The same with more columns.
    Wide,
    /// For programs, exact.
    Json,
}

/// A lone word is a level: the filter itself would take a misspelt one for the name of a module, and log nothing.
fn log(typed: &str) -> Result<String, String> {
    if typed.contains('=') || LEVELS.contains(&typed) {
        return Ok(typed.to_owned());
    }
    Err(format!("unknown level: {}", way_out(typed, "levels", &LEVELS)))
}

/// `web/web1`: a backend and its service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BackendName {
    pub(super) service: String,
    pub(super) name: String,
}

impl FromStr for BackendName {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        let Some((service, name)) = typed.split_once('/') else {
            return Err("name a backend with its service, as in web/web1".to_owned());
        };
        Ok(Self { service: config::name(service)?, name: config::name(name)? })
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.name)
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{BackendCommand, BackendName, Cli, Command};

    #[test]
    fn the_grammar_has_no_contradiction() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_new_backend_may_have_a_port_and_a_server_id() {
        let typed = |more: &str| {
            let all = format!("xlb backend add web/web1 --address 10.0.0.1 {more}");
            let command = Cli::try_parse_from(all.split_whitespace()).unwrap().command;
            let Command::Backend(BackendCommand::Add { port, server_id, weight, .. }) = command else {
                panic!("{command:?}")
            };
            (port, server_id, weight)
        };
        assert_eq!(typed(""), (None, None, 1));
        assert_eq!(typed("--port 8080 --server-id 7 --weight 3"), (Some(8080), Some(7), 3));
        // The daemon says what is wrong with a number, in the words of the file.
        assert_eq!(typed("--port -1 --server-id -1"), (Some(-1), Some(-1), 1));
    }

    #[test]
    fn a_backend_is_named_with_its_service() {
        let name: BackendName = "web/web1".parse().unwrap();
        assert_eq!(
            (name.service.as_str(), name.name.as_str(), name.to_string().as_str()),
            ("web", "web1", "web/web1")
        );
        for bad in ["web1", "/web1", "web/", "web/a/b", "we b/x"] {
            assert!(bad.parse::<BackendName>().is_err(), "{bad}");
        }
    }
}
