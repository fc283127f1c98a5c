//! Addresses and prefixes.

use std::net::IpAddr;

use crate::model::Prefix;

/// Most addresses that one service may send from in mode fullnat.
pub(in crate::config) const MAX_SOURCE_ADDRESSES: usize = 64;

/// An address that one host can have and others can reach.
pub(in crate::config) fn address(typed: &str) -> Result<IpAddr, String> {
    let Ok(address) = typed.parse::<IpAddr>() else {
        return Err(format!(
            "address {typed:?} is not an IP address: write one such as 192.0.2.10 or 2001:db8::10"
        ));
    };
    let kind = match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            return Err(format!(
                "address {address} is an IPv4 address inside an IPv6 one: write {}",
                address.to_canonical()
            ));
        }
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V4(_) | IpAddr::V6(_) if address.is_unspecified() => "the unspecified address",
        IpAddr::V4(_) | IpAddr::V6(_) if address.is_multicast() => "a multicast address",
        IpAddr::V4(_) | IpAddr::V6(_) if address.is_loopback() => "a loopback address",
        IpAddr::V4(_) | IpAddr::V6(_) => return Ok(address),
    };
    Err(format!("address {address} is {kind}: write a unicast address that the network can route"))
}

/// What packets may be sent from: a prefix of addresses that one host can have.
pub(in crate::config) fn prefix(key: &str, typed: &str) -> Result<Prefix, String> {
    let prefix = sources(key, typed)?;
    address(&prefix.address.to_string()).map_err(|why| format!("{key}: {why}"))?;
    Ok(prefix)
}

/// What packets may come from: an address, or an address and a number of bits behind a slash, 0 for all; the host bits are
/// zero.
pub(in crate::config) fn sources(key: &str, typed: &str) -> Result<Prefix, String> {
    let unreadable =
        || format!("{key} {typed:?} is not a prefix: write one such as 172.16.0.0/16 or 2001:db8::/64");
    let (host, length) = match typed.split_once('/') {
        Some((host, length)) => (host, Some(length.parse::<u8>().map_err(|_| unreadable())?)),
        None => (typed, None),
    };
    let host: IpAddr = host.parse().map_err(|_| unreadable())?;
    let width = if host.is_ipv4() { 32 } else { 128 };
    let length_bits = length.unwrap_or(width);
    if length_bits > width {
        return Err(unreadable());
    }
    let masked = mask(host, length_bits);
    if masked != host {
        return Err(format!(
            "{key} {typed} has bits behind its /{length_bits}: write {masked}/{length_bits}"
        ));
    }
    Ok(Prefix { address: host, length_bits })
}

fn mask(address: IpAddr, length_bits: u8) -> IpAddr {
    let length = u32::from(length_bits);
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & !u32::MAX.checked_shr(length).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::MAX.checked_shr(length).unwrap_or(0)).into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses() {
        for good in ["192.0.2.10", "2001:db8::10", "10.0.0.0", "fe80::1"] {
            assert_eq!(address(good), Ok(good.parse().unwrap()));
        }
        for bad in
            ["", "web", "192.0.2.256", "192.0.2.1/24", "0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.1"]
        {
            assert!(address(bad).is_err(), "{bad}");
        }
        assert!(address("ff02::1").is_err() && address("255.255.255.255").is_err());
        assert!(address("::ffff:192.0.2.1").unwrap_err().ends_with("write 192.0.2.1"));
    }

    #[test]
    fn prefixes() {
        let whole = prefix("p", "10.1.2.3").unwrap();
        assert_eq!(whole.to_string(), "10.1.2.3/32");
        assert_eq!(prefix("p", "2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
        assert!(prefix("p", "10.1.2.3/16").unwrap_err().ends_with("write 10.1.0.0/16"));
        for bad in ["", "/", "10.0.0.0/33", "10.0.0.0/-1", "0.0.0.0/0", "::/0", "2001:db8::/129"] {
            assert!(prefix("p", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sources_may_be_everybody() {
        assert_eq!(sources("allow", "0.0.0.0/0").unwrap().to_string(), "0.0.0.0/0");
        assert_eq!(sources("allow", "::/0").unwrap().to_string(), "::/0");
        assert_eq!(sources("deny", "127.0.0.0/8").unwrap().to_string(), "127.0.0.0/8");
        for bad in ["", "/", "10.0.0.0/33", "0.0.0.1/0", "2001:db8::/129", "10.0.0.0/8/8"] {
            assert!(sources("deny", bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// Either the prefix is taken as it was typed, or the message ends with the one that was meant.
        #[test]
        fn a_prefix_with_bits_behind_it_names_the_one_without(bits in any::<u128>(), v6 in any::<bool>(), length in 0u8..=128) {
            let address: IpAddr = if v6 {
                std::net::Ipv6Addr::from_bits(bits).into()
            } else {
                std::net::Ipv4Addr::from_bits(u32::try_from(bits >> 96).unwrap()).into()
            };
            let length = if v6 { length } else { length % 33 };
            let typed = format!("{address}/{length}");
            let meant = match sources("allow", &typed) {
                Ok(taken) => {
                    prop_assert_eq!(taken.to_string(), typed);
                    taken.to_string()
                }
                Err(text) => text.rsplit(' ').next().unwrap().to_owned(),
            };
            prop_assert_eq!(sources("allow", &meant).unwrap().to_string(), meant);
        }
    }
}
