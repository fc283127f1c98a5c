//! Who asks where a VIP is: ARP (RFC 826) and neighbor solicitations (RFC 4861).
//!
//! Only VIPs of an active instance are answered for, never another address, so that a change of role is one store.

use super::{Answer, Tables, View};
use crate::abi::control::Control;
use crate::abi::features::Features;
use crate::abi::service::{Address, Endpoint, filter};
use crate::frame::Frame;

/// The answer to an ARP packet; `None` leaves it to the kernel's stack.
#[inline(always)]
pub(super) fn arp<T: Tables>(view: &View<'_, T>, frame: &Frame<'_>, l3_offset: usize) -> Option<Answer> {
    // Ethernet, IPv4, lengths 6 and 4, request.
    const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    if *frame.get::<[u8; 8]>(l3_offset)? != REQUEST {
        return None;
    }
    let sender = *frame.get::<[u8; 4]>(l3_offset + 14)?;
    let target = *frame.get::<[u8; 4]>(l3_offset + 24)?;
    // A sender that speaks of its own address announces it.
    if sender == target || !is_answered_for(view, Address::v4(target)) {
        return None;
    }
    Some(Answer::Arp { l3_offset, mac: mac_of(&view.node.control, view.tables.ingress())? })
}

/// ICMPv6 type of a neighbor solicitation (RFC 4861, 4.3).
pub(super) const SOLICITATION: u8 = 135;

/// The answer to an ICMPv6 message behind an IPv6 header without extension headers; `None` leaves it to the kernel's stack.
#[inline(always)]
pub(super) fn solicitation<T: Tables>(
    view: &View<'_, T>,
    frame: &Frame<'_>,
    l3_offset: usize,
) -> Option<Answer> {
    let ip = frame.get::<network_types::ip::Ipv6Hdr>(l3_offset)?;
    let payload = u16::from_be_bytes(ip.payload_len);
    // From outside the link nobody gets here with a hop limit of 255 (RFC 4861, 7.1.1).
    if ip.next_hdr != crate::parse::protocol::ICMPV6 || ip.hop_limit != 255 || payload < 24 {
        return None;
    }
    let target = *frame.get::<[u8; 16]>(l3_offset + 48)?;
    let [kind, code, _, _] = *frame.get::<[u8; 4]>(l3_offset + 40)?;
    if kind != SOLICITATION || code != 0 || !is_answered_for(view, Address::v6(&target)) {
        return None;
    }
    Some(Answer::Neighbor { l3_offset, mac: mac_of(&view.node.control, view.tables.ingress())? })
}

#[inline(always)]
fn is_answered_for<T: Tables>(view: &View<'_, T>, address: Address) -> bool {
    if !view.can(Features::NEIGHBORS) || view.services.may_be(address) & filter::VIP == 0 {
        return false;
    }
    match view.services.find(address, Endpoint::VIP) {
        Some(vip) => {
            vip.flags & crate::abi::service::service_flags::POOL == 0
                && view.node.control.active_instances >> (vip.instance & 31) & 1 != 0
        }
        None => false,
    }
}

/// The MAC of an interface, as [`mac_word`](crate::abi::control::mac_word) makes it.
#[inline(always)]
fn mac_of(control: &Control, interface: u32) -> Option<u64> {
    let mut place = 0;
    while place < control.macs.len() {
        if control.interfaces[place] == interface {
            return Some(control.macs[place]);
        }
        place += 1;
    }
    None
}
