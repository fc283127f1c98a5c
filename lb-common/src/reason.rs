//! Why a packet was passed, dropped or answered, and what happened besides: one name for each reason, none called "other".

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum $name {
            $($(#[$doc])* $variant = $number,)+
        }

        impl $name {
            /// Every reason, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name that counters, `xlb status` and the logs show.
            #[inline(always)]
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}
pub(crate) use reasons;

reasons! {
    /// Why a packet went on to the kernel's stack. The number is its counter.
    PassReason {
        /// The tables cannot be reached: the program is loaded, and nobody fills its maps.
        NotConfigured = 0, "not-configured";
        /// The frame is shorter than the header that it announces, and not known to be for a VIP.
        Truncated = 1, "truncated";
        /// The destination MAC is not one of this node's; XDP runs before the driver's own filter.
        OtherMac = 2, "other-mac";
        /// Neither IPv4 nor IPv6, ARP for instance.
        NotIp = 3, "not-ip";
        /// An IP header whose version or header length is impossible.
        BadIpHeader = 4, "bad-ip-header";
        /// The destination address is not a VIP.
        NotVip = 5, "not-vip";
        /// To a VIP, with a protocol or an ICMP type that nobody here has to do with.
        NotBalanced = 6, "not-balanced";
        /// A reply of a nat backend, translated back, that the kernel's stack has to route: no neighbor, no forwarding.
        ReplyToStack = 7, "reply-to-stack";
    }
}

reasons! {
    /// Why a packet to a VIP, or a reply to a client, died. The number is its counter.
    DropReason {
        /// No service has this port and protocol on the VIP.
        NoService = 0, "no-service";
        /// The service has no backend that could take the packet.
        NoBackend = 1, "no-backend";
        /// The backend's entry is not in use: a table was caught between two states.
        StaleBackend = 2, "stale-backend";
        /// The frame ends before the transport header does.
        TruncatedTransport = 3, "truncated-transport";
        /// The length that the IP header tells does not fit the headers or the frame.
        BadLength = 4, "bad-length";
        /// A later fragment whose first one has not been seen, or not lately.
        UnknownFragment = 5, "unknown-fragment";
        /// More IPv6 extension headers than are read, or one that is cut off.
        ExtensionHeaders = 6, "extension-headers";
        /// Larger, outer header included, than the egress interface's MTU, and not to be answered: the answers of this second
        /// are used up, or it cannot be.
        ExceedsMtu = 7, "exceeds-mtu";
        /// The driver gave no room in front of the frame for an outer header.
        NoHeadroom = 8, "no-headroom";
        /// The source address is one that no packet may come from.
        Martian = 9, "martian-source";
        /// The source address is a VIP, or that of a packet to itself.
        SpoofedVip = 10, "spoofed-vip";
        /// The time to live, or hop limit, ends here.
        TtlExpired = 11, "ttl-expired";
        /// TCP flags that no stack sends: none, or SYN with FIN or RST.
        BadTcpFlags = 12, "bad-tcp-flags";
        /// A packet to one address in a frame to many.
        GroupMac = 13, "group-mac";
        /// The source is denied, or not among those allowed.
        SourceDenied = 14, "source-denied";
        /// The source has begun too many flows.
        RateLimited = 15, "rate-limited";
        /// An ICMP error about a packet that its receiver has not sent.
        ForeignIcmpError = 16, "foreign-icmp-error";
        /// An ICMP error that quotes too little to tell the flow.
        ShortIcmpError = 17, "short-icmp-error";
        /// A packet of a connection of mode `fullnat` that is not known, and that begins none.
        UnknownConnection = 18, "unknown-connection";
        /// No free source port was found for a connection of mode `fullnat`.
        NoSourcePort = 19, "no-source-port";
        /// The table of connections of mode `fullnat` is full.
        ConnectionTableFull = 20, "connection-table-full";
    }
}

reasons! {
    /// What a packet was answered with, at once. The number is its counter.
    AnswerKind {
        /// ARP request for a VIP: here it is.
        Arp = 0, "arp-reply";
        /// Neighbor solicitation for a VIP: an advertisement.
        Neighbor = 1, "neighbor-advertisement";
        /// ICMP echo to a VIP.
        Echo = 2, "echo-reply";
        /// A packet too large for the way to its backend: Fragmentation Needed, or Packet Too Big.
        TooBig = 3, "too-big";
    }
}

reasons! {
    /// What happened to the tables besides. The number is its counter.
    Event {
        /// A flow was remembered.
        FlowInserted = 0, "flow-inserted";
        /// A flow was remembered in place of one that had not got past its SYN.
        FlowEvicted = 1, "flow-evicted";
        /// A flow was not remembered: its set is full of flows in use.
        FlowRefused = 2, "flow-refused";
        /// A fragmented packet was remembered.
        FragmentInserted = 3, "fragment-inserted";
        /// A fragmented packet was not remembered: its set is full. Its later fragments are dropped.
        FragmentRefused = 4, "fragment-refused";
        /// A connection of mode `fullnat` was entered.
        ConnectionInserted = 5, "connection-inserted";
        /// A connection of mode `fullnat` was refused: no source port, or no room.
        ConnectionRefused = 6, "connection-refused";
        /// A reply of a nat backend was translated back and sent.
        ReplySent = 7, "reply-sent";
        /// A QUIC packet went where its connection ID says.
        QuicRouted = 8, "quic-routed";
        /// A captured packet was lost: its reader is too slow.
        CaptureLost = 9, "capture-lost";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::counters::MAX_REASONS;

    #[test]
    fn names_are_unique_and_numbers_are_dense() {
        let names: Vec<_> = PassReason::ALL
            .iter()
            .map(|r| r.name())
            .chain(DropReason::ALL.iter().map(|r| r.name()))
            .chain(AnswerKind::ALL.iter().map(|k| k.name()))
            .chain(Event::ALL.iter().map(|e| e.name()))
            .collect();
        let unique: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        for (number, reason) in (0..).zip(PassReason::ALL) {
            assert_eq!(*reason as u32, number);
        }
        for (number, reason) in (0..).zip(DropReason::ALL) {
            assert_eq!(*reason as u32, number);
        }
        for (number, kind) in (0..).zip(AnswerKind::ALL) {
            assert_eq!(*kind as u32, number);
        }
        for (number, event) in (0..).zip(Event::ALL) {
            assert_eq!(*event as u32, number);
        }
        assert!(DropReason::ALL.len() < MAX_REASONS as usize);
    }
}
