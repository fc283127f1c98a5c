//! `xlb capture`: packets as they came and as they left, from the daemon into a file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use tokio::signal::unix::{SignalKind, signal};

use super::args::Capture;
use crate::api::client::Client;
use crate::api::types::{Captured, Seen, Wanted};
use crate::packet::from_hex;

/// How often the daemon is asked: its ring holds more than can come in that time.
const INTERVAL: Duration = Duration::from_millis(100);
/// Resolution of times in the file: 10 to the minus that.
const NANOSECONDS: u8 = 9;
/// Bytes of a frame that are kept.
#[expect(clippy::cast_possible_truncation, reason = "a constant of four digits")]
const SNAP_BYTES: u32 = lb_common::abi::capture::SNAP_BYTES as u32;

/// What a run has come to.
#[derive(Debug, Default)]
struct Sum {
    packets: u64,
    lost: u64,
}

/// Captures until there are enough packets, the reader of the output is gone, or somebody says stop; says how many they were.
pub(super) async fn run(client: &Client, typed: Capture) -> anyhow::Result<()> {
    let output: Box<dyn Write> = if typed.write.as_os_str() == "-" {
        Box::new(io::stdout())
    } else {
        let shown = typed.write.display();
        Box::new(File::create(&typed.write).with_context(|| format!("{shown}: cannot be written"))?)
    };
    // Before the capture begins: what comes meanwhile ends it in good order.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut file = Recording::new(output)?;
    client.begin_capture(&Wanted { service: typed.service, from: typed.from, reason: typed.reason }).await?;
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut sum = Sum::default();
    let result = loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
        };
        match copy(client, &mut file, typed.count, &mut sum).await {
            Ok(true) if !is_last => {}
            Ok(_) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let ended = client.end_capture().await;
    result?;
    ended?;
    // Whether it can be told or not.
    let _ = writeln!(io::stderr(), "xlb: {} packets captured, {} lost", sum.packets, sum.lost);
    Ok(())
}

/// Writes what waits; whether more is wanted.
async fn copy(
    client: &Client,
    file: &mut Recording,
    count: Option<u64>,
    sum: &mut Sum,
) -> anyhow::Result<bool> {
    let captures = client.captures().await?;
    sum.lost = captures.lost;
    for packet in &captures.packets {
        if count.is_some_and(|count| sum.packets >= count) {
            return Ok(false);
        }
        match file.write(packet) {
            Err(error) if is_broken_pipe(&error) => return Ok(false),
            written => written?,
        }
        sum.packets += 1;
    }
    Ok(count.is_none_or(|count| sum.packets < count))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A pcapng file: each packet as it came, and behind it as it left.
struct Recording {
    writer: PcapNgWriter<Box<dyn Write>>,
    interfaces: HashMap<String, u32>,
}

impl Recording {
    fn new(output: Box<dyn Write>) -> anyhow::Result<Self> {
        let writer = PcapNgWriter::new(output).context("output")?;
        Ok(Self { writer, interfaces: HashMap::new() })
    }

    fn write(&mut self, packet: &Captured) -> anyhow::Result<()> {
        // Bits of the flags word: inbound and outbound (draft-ietf-opsawg-pcapng, 4.3.1).
        const INBOUND: u32 = 1;
        const OUTBOUND: u32 = 2;
        self.write_frame(packet, &packet.before, INBOUND)?;
        if let Some(after) = &packet.after {
            self.write_frame(packet, after, OUTBOUND)?;
        }
        self.writer.get_mut().flush().context("output")
    }

    fn write_frame(&mut self, packet: &Captured, seen: &Seen, direction: u32) -> anyhow::Result<()> {
        let block = EnhancedPacketBlock {
            interface_id: self.interface(&seen.interface)?,
            timestamp: Duration::from_nanos(packet.at_ns),
            original_len: seen.length_bytes,
            data: Cow::Owned(from_hex(&seen.frame).map_err(anyhow::Error::msg)?),
            options: vec![
                EnhancedPacketOption::Comment(Cow::Owned(format!("xlb: {}", packet.fate))),
                EnhancedPacketOption::Flags(direction),
            ],
        };
        self.writer.write_pcapng_block(block).map(drop).context("output")
    }

    /// The number of an interface in the file, where it is described first.
    fn interface(&mut self, name: &str) -> anyhow::Result<u32> {
        if let Some(number) = self.interfaces.get(name) {
            return Ok(*number);
        }
        let options = vec![
            InterfaceDescriptionOption::IfName(Cow::Owned(name.to_owned())),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ];
        let block = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: SNAP_BYTES, options };
        self.writer.write_pcapng_block(block).context("output")?;
        let number = u32::try_from(self.interfaces.len())?;
        self.interfaces.insert(name.to_owned(), number);
        Ok(number)
    }
}
