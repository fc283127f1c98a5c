//! The Ethernet header: next hop and own address, and room for an outer header behind it.

use crate::abi::backend::Backend;
use crate::frame::Frame;
use crate::parse::ETH_LEN;

/// Both MAC addresses, destination first.
const MACS_LEN: usize = 12;

/// Direct server return: new MAC addresses, VLAN tags and everything else as they came.
#[inline(always)]
#[must_use]
pub fn rewrite(frame: &mut Frame<'_>, backend: &Backend) -> Option<()> {
    write_macs(frame, backend)
}

/// Writes destination and source MAC, which stand in the table as they stand in the frame: one store of eight bytes and one
/// of four.
#[inline(always)]
#[must_use]
fn write_macs(frame: &mut Frame<'_>, backend: &Backend) -> Option<()> {
    let macs = bytemuck::bytes_of(backend).first_chunk::<MACS_LEN>()?;
    let (first, second) = (*macs.first_chunk::<8>()?, *macs.last_chunk::<4>()?);
    *frame.get_mut::<[u8; 8]>(0)? = u64::from_ne_bytes(first).to_ne_bytes();
    *frame.get_mut::<[u8; 4]>(8)? = u32::from_ne_bytes(second).to_ne_bytes();
    Some(())
}

/// Moves the link header to the new start of a frame that has grown by `grown` bytes: new MAC addresses, VLAN tags kept,
/// `ether_type` in front of the outer header.
#[inline(always)]
#[must_use]
pub fn move_up(
    frame: &mut Frame<'_>,
    grown: usize,
    l3_offset: usize,
    backend: &Backend,
    ether_type: u16,
) -> Option<()> {
    // Tags stand between the source MAC and the last EtherType, which does not change: inner and outer are one family.
    const TAGS: usize = MACS_LEN;
    match l3_offset - ETH_LEN {
        0 => {}
        4 => {
            let tag = *frame.get::<[u8; 4]>(grown + TAGS)?;
            *frame.get_mut::<[u8; 4]>(TAGS)? = tag;
        }
        _ => {
            let tags = *frame.get::<[u8; 8]>(grown + TAGS)?;
            *frame.get_mut::<[u8; 8]>(TAGS)? = tags;
        }
    }
    write_macs(frame, backend)?;
    *frame.get_mut::<[u8; 2]>(l3_offset - 2)? = ether_type.to_ne_bytes();
    Some(())
}
