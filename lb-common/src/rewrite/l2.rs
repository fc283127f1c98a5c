//! The Ethernet header: next hop and own address, and room for an outer header behind it.

use crate::abi::backend::Backend;
use crate::frame::{Frame, Macs};
use crate::parse::ETH_LEN;

/// Direct server return: new MAC addresses, VLAN tags and everything else as they came.
#[inline(always)]
#[must_use]
pub fn rewrite(frame: &mut Frame<'_>, backend: &Backend) -> Option<()> {
    *frame.get_mut::<Macs>(0)? = macs(backend);
    Some(())
}

/// The MAC addresses for a backend, which stand in its entry as they stand in the frame: one store of eight bytes and one of
/// four.
#[inline(always)]
#[must_use]
pub fn macs(backend: &Backend) -> Macs {
    let [a, b, c, d, e, f] = backend.next_hop_mac;
    let [g, h, i, j, k, l] = backend.source_mac;
    Macs {
        first: u64::from_ne_bytes([a, b, c, d, e, f, g, h]).to_ne_bytes(),
        second: u32::from_ne_bytes([i, j, k, l]).to_ne_bytes(),
    }
}

/// Tags stand between the MAC addresses and the last EtherType.
const TAGS: usize = size_of::<Macs>();
/// One tag.
const TAG: usize = 4;

/// Moves the whole link header to the new start of a frame that has grown by `grown` bytes.
#[inline(always)]
#[must_use]
pub fn move_up(frame: &mut Frame<'_>, grown: usize, l3_offset: usize) -> Option<()> {
    let macs = *frame.get::<Macs>(grown)?;
    *frame.get_mut::<Macs>(0)? = macs;
    let ether_type = move_tags(frame, grown, l3_offset)?;
    set_ether_type(frame, l3_offset, ether_type)
}

/// Moves the header of a tagged frame to the new start of a frame that has grown by `grown` bytes: new MAC addresses, tags
/// kept, `ether_type` in front of the outer header at `l3_offset`.
#[inline(always)]
#[must_use]
pub fn move_tags_up(
    frame: &mut Frame<'_>,
    grown: usize,
    l3_offset: usize,
    backend: &Backend,
    ether_type: u16,
) -> Option<()> {
    move_tags(frame, grown, l3_offset)?;
    *frame.get_mut::<Macs>(0)? = macs(backend);
    set_ether_type(frame, l3_offset, ether_type.to_ne_bytes())
}

/// Moves MAC addresses and tags on by `shrunk` bytes, to where the frame will begin. What is moved does not lie where it is
/// moved to: at least an IP header is in between.
#[inline(always)]
#[must_use]
pub fn move_down(frame: &mut Frame<'_>, shrunk: usize, l3_offset: usize) -> Option<()> {
    let Macs { first, second } = *frame.get::<Macs>(0)?;
    // As words: a copy from one place of the frame to another would become a call.
    let (first, second) = (u64::from_ne_bytes(first), u32::from_ne_bytes(second));
    *frame.get_mut::<Macs>(shrunk)? = Macs { first: first.to_ne_bytes(), second: second.to_ne_bytes() };
    if l3_offset >= ONE_TAG {
        let tag = *frame.get::<[u8; TAG]>(TAGS)?;
        *frame.get_mut::<[u8; TAG]>(shrunk + TAGS)? = tag;
    }
    if l3_offset > ONE_TAG {
        let tag = *frame.get::<[u8; TAG]>(TAGS + TAG)?;
        *frame.get_mut::<[u8; TAG]>(shrunk + TAGS + TAG)? = tag;
    }
    Some(())
}

/// The last EtherType of a frame that begins at `start`, and the two bytes behind it: the verifier draws nothing from a comparison
/// with the very end of what is read.
#[inline(always)]
pub fn ether_type_at<'f>(
    frame: &'f mut Frame<'_>,
    start: usize,
    l3_offset: usize,
) -> Option<&'f mut [u8; 4]> {
    match l3_offset {
        ETH_LEN => frame.get_mut(start + TAGS),
        ONE_TAG => frame.get_mut(start + TAGS + TAG),
        _ => frame.get_mut(start + TAGS + 2 * TAG),
    }
}

/// Moves the tags; the EtherType behind them.
#[inline(always)]
fn move_tags(frame: &mut Frame<'_>, grown: usize, l3_offset: usize) -> Option<[u8; 2]> {
    // Every offset a constant: that is what the verifier follows.
    match l3_offset {
        ETH_LEN => frame.get::<[u8; 2]>(grown + TAGS).copied(),
        ONE_TAG => {
            let tag = *frame.get::<[u8; TAG]>(grown + TAGS)?;
            *frame.get_mut::<[u8; TAG]>(TAGS)? = tag;
            frame.get::<[u8; 2]>(grown + TAGS + TAG).copied()
        }
        _ => {
            let tags = *frame.get::<[u8; 2 * TAG]>(grown + TAGS)?;
            *frame.get_mut::<[u8; 2 * TAG]>(TAGS)? = tags;
            frame.get::<[u8; 2]>(grown + TAGS + 2 * TAG).copied()
        }
    }
}

/// Where the IP header begins behind one tag.
const ONE_TAG: usize = ETH_LEN + TAG;

#[inline(always)]
fn set_ether_type(frame: &mut Frame<'_>, l3_offset: usize, ether_type: [u8; 2]) -> Option<()> {
    *match l3_offset {
        ETH_LEN => frame.get_mut::<[u8; 2]>(TAGS)?,
        ONE_TAG => frame.get_mut::<[u8; 2]>(TAGS + TAG)?,
        _ => frame.get_mut::<[u8; 2]>(TAGS + 2 * TAG)?,
    } = ether_type;
    Some(())
}
