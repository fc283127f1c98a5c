//! Capture files: a packet of one that somebody else has written, pcap or pcapng.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

/// A packet of a capture file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The frame; where only its beginning was captured, the rest is zeros.
    pub frame: Vec<u8>,
    /// How many of its bytes were captured.
    pub captured_bytes: usize,
}

/// Longest frame that an Ethernet capture can hold, in bytes: what a network card puts together is at most that long.
const MAX_FRAME_BYTES: usize = 1 << 18;

/// Reads one packet, counted from 1 as Wireshark counts.
///
/// # Errors
/// The file cannot be read or is no capture, there are not that many packets, or the packet is no Ethernet frame.
pub fn packet(path: &Path, number: usize) -> Result<Recorded> {
    let shown = path.display();
    ensure!(number > 0, "packets of a capture are counted from 1");
    let open = || File::open(path).map(BufReader::new).with_context(|| format!("{shown}"));
    let found = if let Ok(file) = PcapReader::new(open()?) {
        in_pcap(file, number)
    } else if let Ok(file) = PcapNgReader::new(open()?) {
        in_pcapng(file, number)
    } else {
        bail!("{shown}: is not a capture: neither pcap nor pcapng");
    };
    match found.with_context(|| format!("{shown}"))? {
        Found::Packet(packet) => Ok(packet),
        Found::Fewer(1) => bail!("{shown}: has no packet {number}: there is only 1"),
        Found::Fewer(count) => bail!("{shown}: has no packet {number}: there are only {count}"),
    }
}

/// What there is of a packet.
enum Found {
    Packet(Recorded),
    /// The file has only so many.
    Fewer(usize),
}

fn in_pcap(mut file: PcapReader<BufReader<File>>, number: usize) -> Result<Found> {
    let link = file.header().datalink;
    let mut count = 0;
    while let Some(packet) = file.next_packet() {
        count += 1;
        let packet = packet.with_context(|| format!("packet {count} cannot be read"))?;
        if count == number {
            return recorded(number, link, &packet.data, packet.orig_len).map(Found::Packet);
        }
    }
    Ok(Found::Fewer(count))
}

fn in_pcapng(mut file: PcapNgReader<BufReader<File>>, number: usize) -> Result<Found> {
    let mut count = 0;
    loop {
        let Some(block) = file.next_block() else { return Ok(Found::Fewer(count)) };
        let block =
            block.with_context(|| format!("what follows packet {count} cannot be read"))?.into_owned();
        let (interface, data, length) = match block {
            Block::EnhancedPacket(packet) => (packet.interface_id, packet.data, packet.original_len),
            // They come in by the first interface.
            Block::SimplePacket(packet) => (0, packet.data, packet.original_len),
            Block::Packet(packet) => (u32::from(packet.interface_id), packet.data, packet.original_len),
            Block::SectionHeader(_)
            | Block::InterfaceDescription(_)
            | Block::NameResolution(_)
            | Block::InterfaceStatistics(_)
            | Block::SystemdJournalExport(_)
            | Block::Unknown(_) => continue,
        };
        count += 1;
        if count == number {
            let interface = file.interfaces().get(usize::try_from(interface)?);
            let interface = interface
                .with_context(|| format!("packet {number} is of an interface that is not described"))?;
            return recorded(number, interface.linktype, &data, length).map(Found::Packet);
        }
    }
}

fn recorded(number: usize, link: DataLink, data: &[u8], length: u32) -> Result<Recorded> {
    ensure!(link == DataLink::ETHERNET, "packet {number} is no Ethernet frame: its link type is {link:?}");
    let length = usize::try_from(length)?.max(data.len());
    ensure!(length <= MAX_FRAME_BYTES, "packet {number} says that it has {length} bytes");
    let mut frame = data.to_vec();
    frame.resize(length, 0);
    Ok(Recorded { frame, captured_bytes: data.len() })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::io::Write;
    use std::time::Duration;

    use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
    use pcap_file::pcapng::PcapNgWriter;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;

    use super::*;

    fn said(path: &Path, number: usize) -> String {
        let error = packet(path, number).expect_err("no packet");
        format!("{error:#}").replace(&path.display().to_string(), "FILE")
    }

    fn pcap(link: DataLink, packets: &[&[u8]]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let header = PcapHeader { datalink: link, ..PcapHeader::default() };
        let mut writer = PcapWriter::with_header(file.reopen().unwrap(), header).unwrap();
        for data in packets {
            // Four bytes more than were captured.
            let length = u32::try_from(data.len()).unwrap() + 4;
            writer.write_packet(&PcapPacket::new(Duration::ZERO, length, data)).unwrap();
        }
        file
    }

    fn pcapng(packets: &[(DataLink, &[u8])]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = PcapNgWriter::new(file.reopen().unwrap()).unwrap();
        for (interface_id, (linktype, data)) in (0..).zip(packets) {
            let interface =
                InterfaceDescriptionBlock { linktype: *linktype, snaplen: 0xffff, options: vec![] };
            writer.write_pcapng_block(interface).unwrap();
            let block = EnhancedPacketBlock {
                interface_id,
                timestamp: Duration::ZERO,
                original_len: u32::try_from(data.len()).unwrap(),
                data: Cow::Borrowed(data),
                options: vec![],
            };
            writer.write_pcapng_block(block).unwrap();
        }
        file
    }

    #[test]
    fn both_kinds_of_file_are_read() {
        let file = pcap(DataLink::ETHERNET, &[b"first", b"second"]);
        let second = Recorded { frame: b"second\0\0\0\0".to_vec(), captured_bytes: 6 };
        assert_eq!(packet(file.path(), 2).unwrap(), second);
        let file = pcapng(&[(DataLink::ETHERNET, b"first"), (DataLink::ETHERNET, b"second")]);
        assert_eq!(packet(file.path(), 1).unwrap(), Recorded { frame: b"first".to_vec(), captured_bytes: 5 });
    }

    #[test]
    fn what_cannot_be_is_said_in_one_sentence() {
        let two = pcap(DataLink::ETHERNET, &[b"first", b"second"]);
        let one = pcapng(&[(DataLink::ETHERNET, b"first")]);
        let raw = pcapng(&[(DataLink::ETHERNET, b"first"), (DataLink::RAW, b"second")]);
        assert_eq!(said(two.path(), 0), "packets of a capture are counted from 1");
        assert_eq!(said(two.path(), 7), "FILE: has no packet 7: there are only 2");
        assert_eq!(said(one.path(), 2), "FILE: has no packet 2: there is only 1");
        assert_eq!(said(raw.path(), 2), "FILE: packet 2 is no Ethernet frame: its link type is RAW");
        let mut text = tempfile::NamedTempFile::new().unwrap();
        text.write_all(b"no capture at all, and longer than a header").unwrap();
        assert_eq!(said(text.path(), 1), "FILE: is not a capture: neither pcap nor pcapng");
        let gone = Path::new("/nonexistent/file");
        assert_eq!(said(gone, 1), "FILE: No such file or directory (os error 2)");
    }

    #[test]
    fn a_file_that_is_cut_off_says_where() {
        let file = pcap(DataLink::ETHERNET, &[b"first", b"second"]);
        let length = file.as_file().metadata().unwrap().len();
        file.as_file().set_len(length - 1).unwrap();
        assert!(packet(file.path(), 1).is_ok());
        assert!(
            said(file.path(), 2).starts_with("FILE: packet 2 cannot be read"),
            "{}",
            said(file.path(), 2)
        );
    }
}
