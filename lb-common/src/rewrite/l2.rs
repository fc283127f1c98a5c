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
