//! Why a packet was passed or dropped: one name for each reason, none called "other".

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
        /// To a VIP, with a protocol that no service can have (ICMP for instance).
        NotBalanced = 6, "not-balanced";
    }
}

reasons! {
    /// Why a packet to a VIP died. The number is its counter.
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
        /// A fragment: ports are in the first one only.
        Fragment = 5, "fragment";
        /// More IPv6 extension headers than are read, or one that is cut off.
        ExtensionHeaders = 6, "extension-headers";
        /// With the outer header the packet is larger than the egress interface's MTU.
        ExceedsMtu = 7, "exceeds-mtu";
        /// The driver gave no room in front of the frame for an outer header.
        NoHeadroom = 8, "no-headroom";
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
            .collect();
        let unique: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        for (number, reason) in (0..).zip(PassReason::ALL) {
            assert_eq!(*reason as u32, number);
        }
        for (number, reason) in (0..).zip(DropReason::ALL) {
            assert_eq!(*reason as u32, number);
        }
        assert!(names.len() < MAX_REASONS as usize);
    }
}
