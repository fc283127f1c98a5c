//! `xlb-lab`: the balancer at work, to watch and to play with; `cargo xtask run` starts it.
//!
//! It ends at Ctrl-C, SIGTERM, after `--for`, or when its standard input ends. Where standard input is at its end
//! from the start (a service, a script with `< /dev/null`) only `--for` tells how long is meant, so it needs that.

use std::{
    io::{IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use xlb_tests::lab::{self, Config, Lab, Load, Mode, Plan, signals, wait};

#[path = "lab/view.rs"]
mod view;

use view::View;

/// Client, balancer and three web servers in network namespaces, with traffic and a live view.
#[derive(Parser)]
#[command(name = "xlb-lab")]
struct Args {
    /// The xlb to run
    #[arg(long, value_name = "FILE")]
    xlb: PathBuf,
    /// Stop by itself after this long, as in 30s or 5m
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
}

/// Steady and bounded: a stuck request holds up one worker of these.
const TRAFFIC: Plan = Plan { workers: 8, per_second: Some(200), total: None, limit: Duration::from_secs(2) };

const FRAME: Duration = Duration::from_secs(1);

/// Why it ends.
#[derive(Clone, Copy)]
enum Stop {
    Signal,
    EndOfInput,
    TimeIsUp,
    OutputIsGone,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    lab::can_run()?;
    let (sender, stop) = mpsc::channel();
    watch_signals(sender.clone())?;
    if !watch_input(sender, args.time.is_some()) {
        println!("standard input is at its end, which ends the lab: give it a time with --for 30s");
        return Ok(());
    }

    eprintln!("starting a client, a balancer and three web servers in network namespaces");
    let config = Config::new(Mode::Dsr);
    let lab = match start(&args.xlb, &config) {
        // Whoever stops it now wants no error, and gets no summary.
        Err(_) if wait::stopping() => return Ok(()),
        started => started?,
    };
    let load = lab.load(config.service(), TRAFFIC);

    let (view, why) = watch(&lab, &config, &load, &stop, args.time)?;
    // Traffic ends before what serves it.
    let rest = load.finish();
    drop(lab);
    let left = lab::leftovers::own();
    ensure!(left.is_empty(), "not everything could be removed: {}", left.join(" "));
    finish(view, &rest, why)
}

fn start(xlb: &Path, config: &Config) -> Result<Lab> {
    let mut lab = Lab::start(3, config.mode)?;
    lab.balance(xlb, config)?;
    Ok(lab)
}

/// Draws once a second until it has to end.
fn watch(
    lab: &Lab,
    config: &Config,
    load: &Load,
    stop: &Receiver<Stop>,
    time: Option<Duration>,
) -> Result<(View, Stop)> {
    let mut view = View::new(lab.balancer()?, config, time, std::io::stdout().is_terminal());
    let begun = Instant::now();
    let mut next = begun + FRAME;
    loop {
        let end = time.map(|time| begun + time);
        let until = end.map_or(next, |end| end.min(next));
        match stop.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(why) => return Ok((view, why)),
            Err(RecvTimeoutError::Disconnected) => wait::pause(FRAME),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok((view, Stop::TimeIsUp));
        }
        next += FRAME;
        view.add(&load.news());
        let frame = view.frame(begun.elapsed(), lab.balancer()?.backends());
        if std::io::stdout().write_all(frame.as_bytes()).and_then(|()| std::io::stdout().flush()).is_err() {
            return Ok((view, Stop::OutputIsGone));
        }
    }
}

fn finish(mut view: View, rest: &[lab::Sample], why: Stop) -> Result<()> {
    view.add(rest);
    let why = match why {
        Stop::Signal => "stopped by a signal",
        Stop::EndOfInput => "standard input has ended",
        Stop::TimeIsUp => "the time is up",
        // Nobody is there to read a summary.
        Stop::OutputIsGone => return Ok(()),
    };
    let summary = format!("{why}; {}\n", view.summary());
    std::io::stdout().write_all(summary.as_bytes()).context("cannot write the summary")
}

fn watch_signals(stop: Sender<Stop>) -> Result<()> {
    signals::handle(move || {
        // Nobody listens when it is ending already.
        let _ = stop.send(Stop::Signal);
    })
}

/// Reports the end of standard input; false if that is already there and matters.
fn watch_input(stop: Sender<Stop>, has_time: bool) -> bool {
    // As a background job of a terminal we get an error from reading, rather than being stopped.
    let mut background = SigSet::empty();
    background.add(Signal::SIGTTIN);
    let _ = background.thread_block();

    let (first, at_start) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0_u8; 512];
        loop {
            match std::io::stdin().read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                // Not an end: somebody else has the terminal.
                Err(_) => return,
            }
        }
        // Listened to only while "at the start" lasts.
        if first.send(()).is_err() {
            wait::stop();
            let _ = stop.send(Stop::EndOfInput);
        }
    });
    // An end that is there already is seen at once.
    let ended = at_start.recv_timeout(Duration::from_millis(100)).is_ok();
    !ended || has_time
}

/// `30s`, `5m`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text} is no time: write it as in 30s or 5m"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(60 * number)),
        "h" => Ok(Duration::from_secs(3600 * number)),
        _ => Err(format!("{text} has no unit that is known: write it as in 30s or 5m")),
    }
}
