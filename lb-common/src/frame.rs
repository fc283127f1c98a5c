//! A cursor over the bytes of one frame that works on a live packet in the kernel and on a buffer on the host.
//!
//! The verifier follows a packet pointer only through comparisons with `data_end`; a slice made from both is rejected.
//! So a frame is two addresses, between which its first (and nearly always only) piece lies, and every header is reached
//! through [`Frame::get`], which compares before it points.

#![expect(
    unsafe_code,
    reason = "turns checked addresses into references; every other file reads packets through here"
)]

use core::marker::PhantomData;

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

/// A header as it stands on the wire.
///
/// # Safety
/// The type has alignment 1, and every pattern of bytes is a value of it.
pub unsafe trait Wire: Copy + 'static {}

/// The Ethernet header (IEEE 802.3), all fields as wire bytes: a frame may start at any address.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EthHdr {
    /// First four bytes of the destination MAC: it is compared as two words.
    pub dst_low: [u8; 4],
    /// Last two bytes of the destination MAC.
    pub dst_high: [u8; 2],
    /// Source MAC.
    pub src: [u8; 6],
    /// EtherType of what follows, or a VLAN tag's.
    pub ether_type: [u8; 2],
}

/// What follows a VLAN tag's EtherType (IEEE 802.1Q).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct VlanHdr {
    /// Priority, drop eligibility and VLAN number.
    pub tci: [u8; 2],
    /// EtherType of what follows.
    pub ether_type: [u8; 2],
}

/// Both MAC addresses, destination first, in the pieces in which they are copied.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Macs {
    /// The first eight bytes.
    pub first: [u8; 8],
    /// The last four bytes.
    pub second: [u8; 4],
}

/// An untagged Ethernet header and the `N` words of the IP header behind it: one comparison with the end for both.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Head<const N: usize> {
    /// MAC addresses.
    pub macs: Macs,
    /// EtherType.
    pub ether_type: [u8; 2],
    /// IP header.
    pub ip: [[u8; 4]; N],
}

macro_rules! wire {
    ($($header:ty),+) => {$(
        const _: () = assert!(align_of::<$header>() == 1);
        // SAFETY: alignment 1 is asserted above, and the fields are integers and arrays of bytes.
        unsafe impl Wire for $header {}
    )+};
}
wire!(EthHdr, VlanHdr, Ipv4Hdr, Ipv6Hdr, TcpHdr, UdpHdr);
wire!(Macs, Head<5>, Head<10>);
wire!(Head<7>, Head<12>);
wire!(u8, [u8; 2], [u8; 4], [u8; 6], [u8; 8], [u8; 14], [u8; 16]);
wire!([[u8; 4]; 5], [[u8; 4]; 7], [[u8; 4]; 10], [[u8; 4]; 12]);

/// The bytes of one frame, from the Ethernet header on.
pub struct Frame<'a> {
    start: usize,
    end: usize,
    len_bytes: usize,
    bytes: PhantomData<&'a mut [u8]>,
}

impl<'a> Frame<'a> {
    /// A frame between two addresses.
    ///
    /// # Safety
    /// `start..end` is memory that may be read and written for `'a`, and nothing else refers to it meanwhile.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn from_addresses(start: usize, end: usize) -> Self {
        Self { start, end, len_bytes: end - start, bytes: PhantomData }
    }

    /// The same frame, known to go on behind its last byte here to `len_bytes` in all: a large one is in several pieces, of
    /// which a program sees the first.
    #[inline(always)]
    #[must_use]
    pub const fn with_len_bytes(self, len_bytes: usize) -> Self {
        Self { len_bytes, ..self }
    }

    /// A frame in a buffer.
    #[must_use]
    pub fn from_bytes(bytes: &'a mut [u8]) -> Self {
        let range = bytes.as_mut_ptr_range();
        // SAFETY: the range is that of an exclusive borrow that lives for 'a.
        unsafe { Self::from_addresses(range.start.expose_provenance(), range.end.expose_provenance()) }
    }

    /// Length in bytes, of all pieces.
    #[inline(always)]
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Whether the frame has at least that many bytes, in all pieces.
    #[inline(always)]
    #[must_use]
    pub const fn holds(&self, len_bytes: usize) -> bool {
        len_bytes <= self.len_bytes
    }

    /// Whether the first piece of the frame has at least that many bytes.
    ///
    /// Lengths are compared, not addresses: a length that comes from a packet through a byte swap has no bounds for the verifier
    /// (6.1 to 6.18, at least), which adds nothing without bounds to the address of a packet.
    #[inline(always)]
    #[must_use]
    pub const fn reaches(&self, len_bytes: usize) -> bool {
        len_bytes <= self.end - self.start
    }

    /// The header at `offset` bytes from the start; `None` when the frame ends before it does.
    #[inline(always)]
    #[must_use]
    pub fn get<T: Wire>(&self, offset: usize) -> Option<&T> {
        let address = self.start + offset;
        if address + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: the whole of T lies inside the frame, T allows any alignment and any bytes (Wire), and the frame is
        // borrowed for as long as the reference.
        Some(unsafe { &*core::ptr::with_exposed_provenance::<T>(address) })
    }

    /// The same for writing.
    #[inline(always)]
    #[must_use]
    pub fn get_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        let address = self.start + offset;
        if address + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: as in `get`; the exclusive borrow of the frame makes the reference exclusive.
        Some(unsafe { &mut *core::ptr::with_exposed_provenance_mut::<T>(address) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_reached_exactly_up_to_the_end() {
        let mut bytes = [0u8; 18];
        bytes[12..14].copy_from_slice(&[0x08, 0x00]);
        bytes[14..18].copy_from_slice(&[1, 2, 3, 4]);
        let mut frame = Frame::from_bytes(&mut bytes);
        assert_eq!(frame.len_bytes(), 18);
        assert_eq!(frame.get::<EthHdr>(0).unwrap().ether_type, [0x08, 0x00]);
        assert_eq!(frame.get::<[u8; 4]>(14), Some(&[1, 2, 3, 4]));
        assert!(frame.get::<[u8; 4]>(15).is_none());
        assert!(frame.get::<[u8; 2]>(18).is_none());
        *frame.get_mut::<[u8; 2]>(16).unwrap() = [9, 9];
        assert_eq!(bytes[14..], [1, 2, 9, 9]);
    }

    #[test]
    fn an_empty_frame_has_nothing() {
        assert!(Frame::from_bytes(&mut []).get::<[u8; 2]>(0).is_none());
    }
}
