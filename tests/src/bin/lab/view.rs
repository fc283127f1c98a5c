//! What the lab shows: numbers in, text out.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use xlb_tests::lab::{Backend, Balancer, Config, Sample};

/// The sums so far, and how they are drawn.
pub(super) struct View {
    title: String,
    hints: [String; 2],
    time: Option<Duration>,
    /// Redraw in place.
    in_place: bool,
    /// Lines of the last frame.
    drawn: usize,
    /// Answers by server: all, and since the last frame.
    answers: BTreeMap<String, (usize, usize)>,
    failures: usize,
    last_failure: Option<String>,
    since_frame: usize,
    slowest: Duration,
}

impl View {
    pub(super) fn new(balancer: &Balancer, config: &Config, time: Option<Duration>, in_place: bool) -> Self {
        let here = std::env::current_dir().unwrap_or_default();
        let hint = |words| shorten(&balancer.command_line(words), &here);
        Self {
            title: format!("http://{} -> xlb (XDP) -> nginx", config.service()),
            hints: [hint("backend drain web/web1"), hint("backend ready web/web1")],
            time,
            in_place,
            drawn: 0,
            answers: BTreeMap::new(),
            failures: 0,
            last_failure: None,
            since_frame: 0,
            slowest: Duration::ZERO,
        }
    }

    pub(super) fn add(&mut self, samples: &[Sample]) {
        for sample in samples {
            self.since_frame += 1;
            self.slowest = self.slowest.max(sample.took);
            match &sample.outcome {
                Ok(server) => {
                    let (all, recent) = self.answers.entry(server.clone()).or_default();
                    *all += 1;
                    *recent += 1;
                }
                Err(error) => {
                    self.failures += 1;
                    self.last_failure = Some(error.clone());
                }
            }
        }
    }

    /// One frame; what was added since the last one counts as its second.
    pub(super) fn frame(&mut self, elapsed: Duration, backends: Result<Vec<Backend>>) -> String {
        let mut text = self.body(elapsed, backends);
        let lines = text.lines().count();
        if self.in_place {
            // Up to where the last frame began, and clear; long lines must not wrap, or the count is wrong.
            let up = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
            text = format!("\x1b[?7l{up}{text}\x1b[?7h");
        }
        self.drawn = lines;
        self.since_frame = 0;
        self.slowest = Duration::ZERO;
        self.answers.values_mut().for_each(|(_, recent)| *recent = 0);
        text
    }

    pub(super) fn summary(&self) -> String {
        let mut text =
            format!("{} requests, {} failed; answered by", self.answered() + self.failures, self.failures);
        for (server, (all, _)) in &self.answers {
            let _ = write!(text, " {server} {all} ({:.1} %)", percent(*all, self.answered()));
        }
        text
    }

    fn body(&self, elapsed: Duration, backends: Result<Vec<Backend>>) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, elapsed, backends);
        text
    }

    fn write(
        &self,
        text: &mut String,
        elapsed: Duration,
        backends: Result<Vec<Backend>>,
    ) -> std::fmt::Result {
        let of = self.time.map_or_else(String::new, |time| format!(" of {}", time.as_secs()));
        writeln!(text, "{}   {}{of} s", self.title, elapsed.as_secs())?;
        writeln!(
            text,
            "{:>5} requests/s   {} in all, {} failed   slowest of this second {:.1} ms",
            self.since_frame,
            self.answered() + self.failures,
            self.failures,
            self.slowest.as_secs_f64() * 1e3
        )?;
        if let Some(failure) = &self.last_failure {
            writeln!(text, "last failure: {failure}")?;
        }
        writeln!(text, "backend    requests   share      /s  share  health     admin  neighbor")?;
        match backends {
            Ok(backends) => backends.iter().try_for_each(|backend| self.row(text, backend))?,
            Err(error) => writeln!(text, "xlb does not say: {error:#}")?,
        }
        writeln!(text, "in a second terminal:")?;
        self.hints.iter().try_for_each(|hint| writeln!(text, "  {hint}"))?;
        if !self.in_place {
            writeln!(text)?;
        }
        Ok(())
    }

    fn row(&self, text: &mut String, backend: &Backend) -> std::fmt::Result {
        let (all, recent) = self.answers.get(&backend.name).copied().unwrap_or_default();
        let recent_sum = self.answers.values().map(|(_, recent)| recent).sum();
        writeln!(
            text,
            "{:<10} {all:>8} {:>5.1} % {recent:>7} {:>4.0} %  {:<10} {:<6} {}",
            backend.name,
            percent(all, self.answered()),
            percent(recent, recent_sum),
            backend.health,
            backend.admin,
            backend.neighbor
        )
    }

    fn answered(&self) -> usize {
        self.answers.values().map(|(all, _)| all).sum()
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    let float = |count: usize| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
    if whole == 0 { 0.0 } else { 100.0 * float(part) / float(whole) }
}

/// The command with its program relative to where the reader is.
fn shorten(command: &str, here: &Path) -> String {
    let (program, words) = command.split_once(' ').unwrap_or((command, ""));
    let program = PathBuf::from(program);
    let program = program.strip_prefix(here).unwrap_or(&program);
    format!("{} {words}", program.display())
}
