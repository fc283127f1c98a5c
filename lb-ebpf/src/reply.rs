//! Replies of nat backends: the service's address again, and out by the route to the client.

use aya_ebpf::programs::XdpContext;
use lb_common::abi::counters;
use lb_common::decide::Reply;
use lb_common::reason::{DropReason, Event, PassReason};
use lb_common::rewrite::{decrement, nat};

use crate::capture;
use crate::context::frame;
use crate::ingress::{drop_packet, pass, transmit};
use crate::route::{self, Way};

/// Translates a reply back and sends it to the client.
#[inline(always)]
pub fn send(ctx: &XdpContext, reply: &Reply, bytes: u64) -> u32 {
    let packet = &reply.packet;
    let way = route::find(ctx, packet, &reply.destination.address);
    if matches!(way, Way::None) {
        // A health check's answer, for instance.
        return pass(ctx, PassReason::NotVip, bytes);
    }
    let mut frame = frame(ctx);
    if nat::translate(&mut frame, packet, &reply.change).is_none() {
        return drop_packet(ctx, DropReason::BadLength, bytes);
    }
    let Way::Known(route) = way else {
        // It takes the hop off itself.
        return pass(ctx, PassReason::ReplyToStack, bytes);
    };
    let Some(hops) = frame.get::<u8>(packet.l3() + if packet.is_v4 { 8 } else { 7 }) else {
        return drop_packet(ctx, DropReason::BadLength, bytes);
    };
    if *hops <= 1 {
        return drop_packet(ctx, DropReason::TtlExpired, bytes);
    }
    let written = decrement(&mut frame, packet.l3(), packet.is_v4)
        .and_then(|()| frame.get_mut(0).map(|place| *place = route.macs));
    if written.is_none() {
        return drop_packet(ctx, DropReason::BadLength, bytes);
    }
    capture::end(ctx, counters::of_event(Event::ReplySent), bytes, false, route.interface);
    transmit(ctx, route.interface)
}
