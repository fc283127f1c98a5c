//! What the guest says to the host.

use std::{fs::File, io::Write as _};

use anyhow::{Context, Result};

use super::super::{Cost, Line, Program};

/// The second serial port: a line for each thing that was found.
pub(super) struct Report(File);

const PORT: &str = "/dev/ttyS1";

impl Report {
    pub(super) fn open() -> Result<Self> {
        let port = File::options().write(true).open(PORT).with_context(|| format!("cannot open {PORT}"))?;
        Ok(Self(port))
    }

    pub(super) fn program(&mut self, program: Program) -> Result<()> {
        self.line(&Line::Program(program))
    }

    pub(super) fn cost(&mut self, cost: Cost) -> Result<()> {
        self.line(&Line::Cost(cost))
    }

    /// What was tried, and how it came out.
    pub(super) fn result(&mut self, name: &str, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => self.line(&Line::Passed { name: name.to_owned() }),
            Err(error) => self.failed(name, &error),
        }
    }

    pub(super) fn failed(&mut self, name: &str, error: &anyhow::Error) -> Result<()> {
        self.line(&Line::Failed { name: name.to_owned(), why: shortened(&format!("{error:#}")) })
    }

    /// Says that nothing is missing; closing the port waits until it is all sent.
    pub(super) fn finish(mut self) -> Result<()> {
        self.line(&Line::Done)
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        let text = serde_json::to_string(line)? + "\n";
        self.0.write_all(text.as_bytes()).with_context(|| format!("cannot write to {PORT}"))
    }
}

/// Beginning and end of a long text: the end of a verifier's log says what it refuses.
fn shortened(text: &str) -> String {
    const KEPT: usize = 8;
    let lines: Vec<&str> = text.lines().collect();
    match lines.len().checked_sub(2 * KEPT) {
        Some(left_out) if left_out > 0 => {
            let middle = format!("[{left_out} lines]");
            let (first, last) = (&lines[..KEPT], &lines[lines.len() - KEPT..]);
            [first, &[middle.as_str()], last].concat().join("\n")
        }
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn long_texts_keep_their_ends() {
        let lines: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        let text = shortened(&lines.join("\n"));
        assert!(
            text.starts_with("0\n1\n") && text.contains("\n7\n[4 lines]\n12\n") && text.ends_with("\n19"),
            "{text}"
        );
        assert_eq!(shortened(&lines[..16].join("\n")), lines[..16].join("\n"));
    }
}
