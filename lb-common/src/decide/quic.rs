//! Which server a QUIC connection ID names (RFC 9000, 17; draft-ietf-quic-load-balancers, the unencrypted form).
//!
//! ```text
//!  short header           connection ID, as long as the server has made it
//! +-----------------+-----------------------------+-----------------+--------------
//! | 0 1 . . . . . . | config 3 | length less 1: 5 | server ID: 16   | nonce ...
//! +-----------------+-----------------------------+-----------------+--------------
//! ```
//!
//! Long headers (Initial, 0-RTT, Handshake) come before any migration, and go by hash: the connection ID of an Initial is the
//! client's own invention.

use super::{Tables, View};
use crate::abi::backend::BackendId;
use crate::abi::connection::ServerKey;
use crate::abi::service::ServiceEntry;
use crate::frame::Frame;

/// Of the first byte of a packet: a long header.
const LONG: u8 = 0x80;
/// Of the first byte of a connection ID: a server that has no configuration says 7 (draft, 3.1).
const UNROUTABLE: u8 = 0b111;
/// Bytes of a connection ID behind its first: server ID, and at least four of nonce.
const MIN_LEN: u8 = 6;

/// The live backend that a packet's connection ID names, if it does.
#[inline(always)]
pub(super) fn server<T: Tables>(
    view: &View<'_, T>,
    service: &ServiceEntry,
    frame: &Frame<'_>,
    l4_offset: usize,
) -> Option<BackendId> {
    const UDP_LEN: usize = 8;
    let [flags, first, high, low] = *frame.get::<[u8; 4]>(l4_offset + UDP_LEN)?;
    if flags & LONG != 0 || first >> 5 == UNROUTABLE || first & 0x1f < MIN_LEN {
        return None;
    }
    let server_id = u32::from(u16::from_be_bytes([high, low]));
    let id = view.tables.server(&ServerKey { service: service.number, server_id })?;
    view.is_alive(id).then_some(id)
}
