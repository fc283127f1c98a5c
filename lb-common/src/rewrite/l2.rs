//! The Ethernet header: next hop and own address, and room for an outer header behind it.

use crate::abi::backend::Backend;
use crate::frame::{EthHdr, Frame};
use crate::parse::ETH_LEN;

/// Direct server return: new MAC addresses, VLAN tags and everything else as they came.
#[inline(always)]
#[must_use]
pub fn rewrite(frame: &mut Frame<'_>, backend: &Backend) -> Option<()> {
    let eth = frame.get_mut::<EthHdr>(0)?;
    eth.dst = backend.next_hop_mac;
    eth.src = backend.source_mac;
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
    ether_type: [u8; 2],
) -> Option<()> {
    // Tags stand between the source MAC and the last EtherType, which does not change: inner and outer are one family.
    const TAGS: usize = ETH_LEN - 2;
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
    let eth = frame.get_mut::<EthHdr>(0)?;
    eth.dst = backend.next_hop_mac;
    eth.src = backend.source_mac;
    *frame.get_mut::<[u8; 2]>(l3_offset - 2)? = ether_type;
    Some(())
}
