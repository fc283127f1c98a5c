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
    // Tags stand between the MAC addresses and the last EtherType.
    const TAGS: usize = size_of::<Macs>();
    if l3_offset == ETH_LEN + 4 {
        let tag = *frame.get::<[u8; 4]>(grown + TAGS)?;
        *frame.get_mut::<[u8; 4]>(TAGS)? = tag;
    } else {
        let tags = *frame.get::<[u8; 8]>(grown + TAGS)?;
        *frame.get_mut::<[u8; 8]>(TAGS)? = tags;
    }
    *frame.get_mut::<Macs>(0)? = macs(backend);
    *frame.get_mut::<[u8; 2]>(l3_offset - 2)? = ether_type.to_ne_bytes();
    Some(())
}
