//! Does `xlb capture` write what came and what left, only what was wanted, and leave no trace in the program?

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::programs::loaded_programs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use xlb_tests::lab::{Config, Lab, Mode, SOCKET, VIP4, wait, xlb_binary};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("capture_before_and_after", before_and_after),
    ("capture_what_is_wanted", what_is_wanted),
    ("capture_ends_with_its_client", ends_with_its_client),
    ("capture_what_cannot_be", what_cannot_be),
];

const PATIENCE: Duration = Duration::from_secs(10);

/// A running `xlb capture`; dropping it kills it.
struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// Starts one, and waits until the daemon captures.
    fn start(lab: &Lab, words: &[&str]) -> Result<Self> {
        let begun = count(lab, "capture begun")?;
        let file = lab.directory().join("capture.pcapng");
        // Only there are signals not masked.
        let mut command = lab.lb().command(xlb_binary());
        command
            .arg("--socket")
            .arg(lab.directory().join(SOCKET))
            .arg("capture")
            .arg("--write")
            .arg(&file)
            .args(words);
        let child = command.stderr(Stdio::piped()).spawn().context("xlb cannot be started")?;
        let capture = Self { child, file };
        wait::until("the capture", PATIENCE, || {
            ensure!(count(lab, "capture begun")? > begun, "it has not begun");
            Ok(())
        })?;
        Ok(capture)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Waits for its end; what it said, and what it has written.
    fn end(mut self) -> Result<(String, Vec<Frame>)> {
        let status = wait::until("the end of the capture", PATIENCE, || {
            self.child.try_wait()?.context("it is running")
        })?;
        let mut said = String::new();
        self.child.stderr.take().context("it has no standard error")?.read_to_string(&mut said)?;
        ensure!(status.success(), "it ended with {status}: {said}");
        Ok((said.trim().to_owned(), read(&self.file)?))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // It has ended already, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A frame of a file.
#[derive(Debug)]
struct Frame {
    comment: String,
    is_out: bool,
    bytes: Vec<u8>,
}

fn read(file: &Path) -> Result<Vec<Frame>> {
    let mut reader = PcapNgReader::new(File::open(file)?)?;
    let mut frames = Vec::new();
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block?.into_owned() else { continue };
        let comment = packet.options.iter().find_map(|option| {
            let EnhancedPacketOption::Comment(comment) = option else { return None };
            Some(comment.to_string())
        });
        let is_out = packet.options.contains(&EnhancedPacketOption::Flags(2));
        frames.push(Frame {
            comment: comment.context("a frame without comment")?,
            is_out,
            bytes: packet.data.to_vec(),
        });
    }
    Ok(frames)
}

/// How often the daemon has said something.
fn count(lab: &Lab, text: &str) -> Result<usize> {
    Ok(lab.balancer()?.log().matches(text).count())
}

fn start() -> Result<(Lab, Config)> {
    let config = Config { idle_timeout: "1s", ..Config::new(Mode::Dsr) };
    let mut lab = Lab::start(3, config.mode)?;
    // Backends come up one after the other.
    lab.balance(&xlb_binary(), &config)?.until_settled(PATIENCE)?;
    Ok((lab, config))
}

/// A request to a port of the VIP; who has answered.
fn curl(lab: &Lab, port: u16) -> Result<String> {
    let mut curl = lab.client().command("curl");
    curl.args(["--silent", "--fail", "--max-time", "0.8", "--noproxy", "*"])
        .arg(format!("http://{VIP4}:{port}/"));
    let output = curl.output().context("curl cannot be started")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Id and size of the program on the balancer's interface.
fn program(lab: &Lab) -> Result<(u32, u32)> {
    let output = lab.lb().command("ip").args(["-details", "link", "show", "eth0"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let id = text.split_once("prog/xdp id ").and_then(|(_, rest)| rest.split_whitespace().next());
    let id: u32 = id.with_context(|| format!("no program: {text}"))?.parse()?;
    let program = loaded_programs().filter_map(Result::ok).find(|one| one.id() == id);
    let size = program.context("the program is gone")?.size_translated().context("it has no size")?;
    Ok((id, size))
}

fn before_and_after() -> Result<()> {
    let (lab, _) = start()?;
    let plain = program(&lab)?;
    let capture = Capture::start(&lab, &["--service", "web", "--count", "5"])?;
    let capturing = program(&lab)?;
    ensure!(
        capturing.0 != plain.0 && capturing.1 != plain.1,
        "the program is the same: {plain:?}, {capturing:?}"
    );
    let server = curl(&lab, 80)?;
    let (said, frames) = capture.end()?;
    println!("{said}\n{}", frames.iter().map(|frame| frame.comment.clone() + "\n").collect::<String>());

    ensure!(said == "xlb: 5 packets captured, 0 lost", "it said {said}");
    ensure!(frames.len() == 10, "it has written {} frames", frames.len());
    for pair in frames.chunks(2) {
        let [before, after] = pair else { continue };
        ensure!(!before.is_out && after.is_out, "they are in another order: {pair:?}");
        let slot = before.comment.strip_prefix(&format!("xlb: forwarded to web/{server} (dsr), slot "));
        let slot = slot.with_context(|| format!("the comment is {}", before.comment))?;
        let number: u32 = slot.strip_suffix(" settled").context("no state")?.parse()?;
        ensure!(number < 1021 && after.comment == before.comment, "the comments are {pair:?}");
        // Other MACs, one hop less; the rest is the same.
        ensure!(before.bytes[..12] != after.bytes[..12], "the MACs are the same: {pair:?}");
        ensure!(before.bytes[22] == after.bytes[22] + 1, "the hops are {pair:?}");
        ensure!(before.bytes[26..] == after.bytes[26..], "they differ: {pair:?}");
    }
    let after = wait::until("the program before", PATIENCE, || {
        let now = program(&lab)?;
        ensure!(now.1 == plain.1, "it has {} bytes, not {}", now.1, plain.1);
        Ok(now)
    })?;
    ensure!(after.0 != capturing.0 && count(&lab, "capture ended")? == 1, "it is {after:?}");
    // And traffic goes on.
    ensure!(!curl(&lab, 80)?.is_empty(), "no answer after the capture");
    Ok(())
}

fn what_is_wanted() -> Result<()> {
    let (lab, _) = start()?;
    let rows: &[(&[&str], &str, bool)] = &[
        (&["--reason", "no-service"], "xlb: dropped: no-service", true),
        (&["--from", "10.77.0.1", "--reason", "no-service"], "xlb: dropped: no-service", true),
        (&["--from", "10.77.0.0/24", "--service", "web"], "xlb: forwarded to web/web", true),
        (&["--from", "203.0.113.0/24"], "", false),
        (&["--service", "web", "--reason", "no-service"], "", false),
    ];
    for (words, comment, is_wanted) in rows {
        let capture = Capture::start(&lab, words)?;
        ensure!(
            !curl(&lab, 80)?.is_empty() && curl(&lab, 81)?.is_empty(),
            "the services are not as they should be"
        );
        capture.signal(Signal::SIGINT)?;
        let (said, frames) = capture.end()?;
        println!("{}: {said}, {} frames", words.join(" "), frames.len());
        ensure!(frames.is_empty() != *is_wanted, "{}: {} frames", words.join(" "), frames.len());
        for frame in &frames {
            ensure!(
                frame.comment.starts_with(comment),
                "{}: a comment is {}",
                words.join(" "),
                frame.comment
            );
            ensure!(!(frame.is_out && comment.contains("dropped")), "what was dropped has left: {frame:?}");
        }
        ensure!(said.ends_with("captured, 0 lost"), "it said {said}");
    }
    Ok(())
}

/// A client that is killed cannot say stop.
fn ends_with_its_client() -> Result<()> {
    let (lab, _) = start()?;
    let plain = program(&lab)?;
    let mut capture = Capture::start(&lab, &[])?;
    let second = lab.balancer()?.output(&["capture", "--write", "/dev/null"])?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(!second.status.success() && said.contains("another capture is running"), "it said {said}");
    capture.child.kill()?;
    wait::until("the end of the capture", PATIENCE, || {
        let now = program(&lab)?;
        ensure!(now.1 == plain.1 && count(&lab, "capture ended")? == 1, "it is {now:?}");
        Ok(())
    })
}

fn what_cannot_be() -> Result<()> {
    let (lab, _) = start()?;
    let plain = program(&lab)?;
    let rows: [(&[&str], &str); 4] = [
        (&["--write", "/dev/null", "--service", "wep"], "did you mean web?"),
        (&["--write", "/dev/null", "--reason", "no-servcie"], "did you mean no-service?"),
        (&["--write", "/dev/null", "--from", "10.77.0.1/24"], "write 10.77.0.0/24"),
        (&["--write", "/nonexistent/file"], "cannot be written"),
    ];
    for (words, part) in rows {
        let output = lab.balancer()?.output(&[&["capture"], words].concat())?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        println!("{}: {said}", words.join(" "));
        ensure!(output.status.code() == Some(1), "{}: it ended with {}", words.join(" "), output.status);
        ensure!(
            said.lines().count() == 1 && said.contains(part),
            "{}: it does not say {part}: {said}",
            words.join(" ")
        );
    }
    ensure!(program(&lab)? == plain, "a capture that cannot be has changed the program");
    Ok(())
}
