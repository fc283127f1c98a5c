//! The command line: what was typed, who does it, and with which exit code it ends.
//!
//! `args` is the grammar, `explain` the command of that name, `render` turns answers into tables and pages, `units` numbers into words.

mod args;
mod capture;
pub(crate) mod explain;
mod render;
mod units;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::api::client::Client;
use crate::api::types::{Admin, Confirmed, NewBackend};
use crate::config::{self, Loaded, Overrides, Problems};
use crate::daemon;
use crate::decap;
use args::{BackendCommand, BackendName, Cli, Command, Decap, Explain, Format, ServiceCommand};

/// What went wrong, by exit code. 2 is reserved for a plan that has changes.
enum Failure {
    /// 1.
    Failed(anyhow::Error),
    /// 3.
    InvalidConfig(Problems),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Does what the process was told, and says how it went.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(usage) => return show(&usage),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(error.into()),
    };
    // When standard error is gone too, the exit code is all that is left to say.
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::InvalidConfig(problems)) => {
            let _ = writeln!(io::stderr(), "{problems}");
            ExitCode::from(3)
        }
        Err(Failure::Failed(error)) => {
            let _ = writeln!(io::stderr(), "xlb: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Help and version are answers; anything else that clap says is a failure.
fn show(usage: &clap::Error) -> ExitCode {
    let _ = usage.print();
    if usage.use_stderr() { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let client = Client::new(&cli.socket);
    match cli.command {
        Command::Run(run) => {
            start_logging(&run.log)?;
            let options = daemon::Options {
                config: run.config,
                interfaces: run.interfaces,
                socket: cli.socket,
                trace_drops: run.trace_drops,
            };
            daemon::run(options).await.map_err(|error| match error {
                daemon::Error::Config(problems) => Failure::InvalidConfig(problems),
                daemon::Error::Failed(error) => Failure::Failed(error),
            })
        }
        Command::Check { file, host } => check(&file, host),
        Command::Status { output } => {
            let status = client.status().await?;
            print(&render::status(&status, output)?)
        }
        Command::Explain(typed) => explain(&client, typed).await,
        Command::Capture(typed) => Ok(capture::run(&client, typed).await?),
        Command::Service(ServiceCommand::List { output }) => {
            let services = client.services().await?;
            print(&render::services(&services, output)?)
        }
        Command::Backend(command) => backend(&client, command).await,
        Command::Decap(Decap { interfaces, from, vips, gue_port, generic }) => {
            receive(&decap::Options { interfaces, from, vips, gue_port, generic }).await
        }
    }
}

async fn receive(options: &decap::Options) -> Result<(), Failure> {
    let receiver = decap::Receiver::start(options)?;
    // Without standard error it is as slow, and as well.
    let _ = io::stderr().write_all(receiver.notice().as_bytes());
    print(&format!("{receiver}\n"))?;
    let report = receiver.until_told_to_stop().await;
    print(&report.lines().context("what was counted")?)
}

async fn explain(client: &Client, typed: Explain) -> Result<(), Failure> {
    let format = typed.output.format;
    let answer = client.explain(&explain::question(typed)?).await?;
    print(&format.render(&answer, |_| explain::page(&answer))?)?;
    if answer.confirmation.result == Confirmed::Different {
        let text =
            "the loaded program does otherwise than its tables say: please report this with the answer above";
        return Err(anyhow::anyhow!(text).into());
    }
    Ok(())
}

async fn backend(client: &Client, command: BackendCommand) -> Result<(), Failure> {
    match command {
        BackendCommand::List { service, output } => {
            let backends = client.backends(service.as_deref()).await?;
            print(&render::backends(&backends, output)?)
        }
        BackendCommand::Add { backend, address, weight, port, server_id } => {
            let BackendName { service, name } = &backend;
            let new = NewBackend { name: name.clone(), address, weight, port, server_id };
            client.add_backend(service, &new).await?;
            print(&format!("{backend}: added\n"))
        }
        BackendCommand::Delete { backend } => {
            client.delete_backend(&backend.service, &backend.name).await?;
            print(&format!("{backend}: deleted\n"))
        }
        BackendCommand::Drain { backend } => set_admin(client, &backend, Admin::Drain).await,
        BackendCommand::Ready { backend } => set_admin(client, &backend, Admin::Ready).await,
    }
}

async fn set_admin(client: &Client, backend: &BackendName, admin: Admin) -> Result<(), Failure> {
    client.set_admin(&backend.service, &backend.name, admin).await?;
    print(&format!("{backend}: {admin}\n"))
}

fn check(file: &Path, host: bool) -> Result<(), Failure> {
    let loaded: Loaded = config::load(file, &Overrides::default()).map_err(Failure::InvalidConfig)?;
    if host {
        config::host::check(&loaded).map_err(Failure::InvalidConfig)?;
    }
    let services = &loaded.config.services;
    let backends = services.iter().map(|service| service.backends.len()).sum();
    let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    print(&format!(
        "{}: ok: {}, {}\n",
        loaded.places.file,
        counted(services.len(), "service"),
        counted(backends, "backend")
    ))
}

/// Prints to standard output; a reader that went away (`xlb backend list | head -1`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result.context("standard output")?),
    }
}

fn start_logging(directives: &str) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(directives)
        .map_err(|error| anyhow::anyhow!("--log {directives}: {error}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Files and journals want no colours.
    let log = log.with_ansi(io::stderr().is_terminal());
    log.try_init().map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    Ok(())
}

/// As JSON for programs: pretty, exact, one newline at the end.
fn json(answer: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(answer).context("answer cannot be written as JSON")? + "\n")
}

impl Format {
    /// The answer as JSON, or as `page` draws it: `true` for the wide one.
    fn render<T: serde::Serialize>(
        self,
        answer: &T,
        page: impl FnOnce(bool) -> String,
    ) -> anyhow::Result<String> {
        match self {
            Self::Table => Ok(page(false)),
            Self::Wide => Ok(page(true)),
            Self::Json => json(answer),
        }
    }
}
