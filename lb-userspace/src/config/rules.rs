//! What one value must look like: rules without a file, so that the file and the API are judged alike.
//!
//! Each rule takes what was typed and returns the typed value, or the reason and the way out as the end of a sentence
//! that begins with the thing's name. Where a thing stands, and what stands beside it, is `validate`'s business.

use std::net::IpAddr;
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use lb_common::maglev;

use crate::model::{Mode, Prefix, Protocol, XdpMode};
use crate::nearest::nearest;

/// Longest interface name in bytes (`IFNAMSIZ` less its final zero).
pub(super) const INTERFACE_NAME_BYTES: usize = 15;
/// Longest name of a node, a service or a backend in bytes.
pub(super) const NAME_BYTES: usize = 64;
/// A backend's largest weight.
pub(super) const MAX_WEIGHT: u16 = 1000;
/// A backend's weight when none is given.
pub(super) const DEFAULT_WEIGHT: u16 = 1;
/// The smallest prime a Maglev table may have.
pub(super) const MIN_SLOTS: u32 = 251;
/// The largest: the last prime below 2^20.
pub(super) const MAX_SLOTS: u32 = 1_048_573;
/// Most slots a node may have; at 4 bytes each 256 MiB.
pub(super) const MAX_NODE_SLOTS: u32 = 1 << 26;
/// A check more often than this measures its own load.
const MIN_DURATION: Duration = Duration::from_millis(10);
const MAX_DURATION: Duration = Duration::from_secs(3600);
/// Most successes or failures in a row that a check may want.
const MAX_IN_A_ROW: u32 = 1000;

pub(super) fn name(typed: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if typed.is_empty() || typed.len() > NAME_BYTES || !typed.bytes().all(allowed) {
        return Err(format!("name {typed:?} is not 1 to {NAME_BYTES} of the characters A-Z a-z 0-9 . _ -"));
    }
    Ok(typed.to_owned())
}

/// A name that the kernel takes for an interface (`dev_valid_name` in net/core/dev.c).
pub(super) fn interface(typed: &str) -> Result<String, String> {
    if typed.len() > INTERFACE_NAME_BYTES {
        return Err(format!(
            "interface name {typed:?} is longer than {INTERFACE_NAME_BYTES} bytes: no interface can be called so, \
             see 'ip link'"
        ));
    }
    let refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if typed.is_empty() || typed == "." || typed == ".." || typed.contains(refused) {
        return Err(format!("interface name {typed:?} is not one the kernel allows: see 'ip link'"));
    }
    Ok(typed.to_owned())
}

/// An address that one host can have and others can reach.
pub(super) fn address(typed: &str) -> Result<IpAddr, String> {
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

pub(super) fn port(typed: i64) -> Result<u16, String> {
    match u16::try_from(typed) {
        Ok(port) if port > 0 => Ok(port),
        Ok(_) | Err(_) => Err(format!("port {typed} is out of range: choose one from 1 to 65535")),
    }
}

pub(super) fn weight(typed: i64) -> Result<u16, String> {
    match u16::try_from(typed) {
        Ok(weight) if weight <= MAX_WEIGHT => Ok(weight),
        Ok(_) | Err(_) => Err(format!("weight {typed} is out of range: choose one from 0 to {MAX_WEIGHT}")),
    }
}

pub(super) fn protocol(typed: &str) -> Result<Protocol, String> {
    one_of("protocol", typed, &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)])
}

pub(super) fn mode(typed: &str) -> Result<Mode, String> {
    let known = [
        ("dsr", Mode::Dsr),
        ("ipip", Mode::Ipip),
        ("gue", Mode::Gue),
        ("nat", Mode::Nat),
        ("fullnat", Mode::Fullnat),
    ];
    one_of("mode", typed, &known)
}

pub(super) fn xdp_mode(typed: &str) -> Result<XdpMode, String> {
    let known = [("native", XdpMode::Native), ("generic", XdpMode::Generic), ("auto", XdpMode::Auto)];
    one_of("xdp_mode", typed, &known)
}

/// The value whose word was typed; `key` is what the word was typed for.
pub(super) fn one_of<T: Copy>(key: &str, typed: &str, known: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = known.iter().find(|(word, _)| *word == typed) {
        return Ok(*value);
    }
    let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
    let hint = match nearest(typed, words.iter().copied()) {
        Some(word) => format!("did you mean {word}?"),
        None => format!("choose {}", words.join(" or ")),
    };
    Err(format!("{key} {typed:?} is unknown: {hint}"))
}

/// A whole number and its unit, as in `500ms`.
pub(super) fn duration(key: &str, typed: &str) -> Result<Duration, String> {
    let digits = typed.find(|c: char| !c.is_ascii_digit()).unwrap_or(typed.len());
    let (count, unit) = typed.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => 0,
    };
    match count.parse::<u64>() {
        Ok(count) if unit_ms > 0 => {
            let duration = Duration::from_millis(count.saturating_mul(unit_ms));
            if (MIN_DURATION..=MAX_DURATION).contains(&duration) {
                return Ok(duration);
            }
            Err(format!("{key} {typed} is out of range: choose 10ms to 60m"))
        }
        Ok(_) | Err(_) => Err(format!(
            "{key} {typed:?} is not a duration: write a whole number and a unit, such as 500ms, 1s or 2m"
        )),
    }
}

pub(super) fn in_a_row(key: &str, typed: i64) -> Result<u32, String> {
    match u32::try_from(typed) {
        Ok(count) if (1..=MAX_IN_A_ROW).contains(&count) => Ok(count),
        Ok(_) | Err(_) => Err(format!("{key} {typed} is out of range: choose one from 1 to {MAX_IN_A_ROW}")),
    }
}

pub(super) fn path(typed: &str) -> Result<String, String> {
    let plain = typed.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !typed.starts_with('/') || !plain || typed.parse::<PathAndQuery>().is_err() {
        return Err(format!(
            "path {typed:?} is not a path: write one such as /healthz, without spaces, other characters as %XX"
        ));
    }
    Ok(typed.to_owned())
}

pub(super) fn host(typed: &str) -> Result<String, String> {
    if typed.is_empty() || !typed.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
        return Err(format!("host {typed:?} is not a host name: write one such as www.example.com"));
    }
    Ok(typed.to_owned())
}

pub(super) fn slots(typed: i64) -> Result<u32, String> {
    match u32::try_from(typed) {
        Ok(slots) if (MIN_SLOTS..=MAX_SLOTS).contains(&slots) => {
            if maglev::is_prime(slots) {
                return Ok(slots);
            }
            Err(format!("slots {slots} is not a prime: the next one is {}", next_prime(slots)))
        }
        Ok(_) | Err(_) => {
            Err(format!("slots {typed} is out of range: choose a prime from {MIN_SLOTS} to {MAX_SLOTS}"))
        }
    }
}

pub(super) fn node_slots(typed: i64) -> Result<u32, String> {
    match u32::try_from(typed) {
        Ok(slots) if (MIN_SLOTS..=MAX_NODE_SLOTS).contains(&slots) => Ok(slots),
        Ok(_) | Err(_) => {
            Err(format!("max_slots {typed} is out of range: choose {MIN_SLOTS} to {MAX_NODE_SLOTS}"))
        }
    }
}

/// A table has at least as many slots as backends that want one.
pub(super) fn slots_for(slots: u32, weighted: usize) -> Result<(), String> {
    let weighted = u32::try_from(weighted).unwrap_or(u32::MAX);
    if weighted <= slots {
        return Ok(());
    }
    if weighted > MAX_SLOTS {
        return Err(format!("{weighted} backends are more than the largest table has slots ({MAX_SLOTS})"));
    }
    let enough = next_prime(weighted.max(MIN_SLOTS));
    Err(format!(
        "slots {slots} is less than its {weighted} backends with a weight: the next prime is {enough}"
    ))
}

/// An address, or an address and a number of bits behind a slash; the host bits are zero.
pub(super) fn prefix(key: &str, typed: &str) -> Result<Prefix, String> {
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
    address(&host.to_string()).map_err(|why| format!("{key}: {why}"))?;
    Ok(Prefix { address: host, length_bits })
}

fn mask(address: IpAddr, length_bits: u8) -> IpAddr {
    let length = u32::from(length_bits);
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & !u32::MAX.checked_shr(length).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::MAX.checked_shr(length).unwrap_or(0)).into()),
    }
}

/// What the address of a backend must have in common with the VIP.
pub(super) fn same_family(mode: Mode, vip: IpAddr, backend: IpAddr) -> Result<(), String> {
    if vip.is_ipv4() == backend.is_ipv4() {
        return Ok(());
    }
    let family = |address: IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let (wanted, given) = (family(vip), family(backend));
    Err(format!(
        "address {backend} is an {given} address behind the {wanted} address {vip}, which mode {mode} cannot \
         carry: give the backend's {wanted} address"
    ))
}

/// Why a backend may not have the address of a service; `line` is where that one stands, if known.
pub(super) fn not_a_vip(address: IpAddr, service: &str, line: &str) -> String {
    format!(
        "address {address} is the address of service {service}{line}: packets sent there would come back; give the \
         server's own address"
    )
}

fn next_prime(at_least: u32) -> u32 {
    // MAX_SLOTS is a prime, and nobody asks for one above it.
    maglev::next_prime(at_least).unwrap_or(MAX_SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_slots_are_primes() {
        assert!(maglev::is_prime(MIN_SLOTS) && maglev::is_prime(MAX_SLOTS));
        assert!(maglev::next_prime(MAX_SLOTS + 1).is_some_and(|next| next > 1 << 20));
    }

    #[test]
    fn every_slots_that_is_refused_names_an_allowed_one() {
        for typed in i64::from(MIN_SLOTS)..3000 {
            if let Err(text) = slots(typed) {
                let next = text.rsplit(' ').next().unwrap().parse().unwrap();
                assert_eq!(slots(next), Ok(u32::try_from(next).unwrap()), "{text}");
            }
        }
        assert!(slots(250).is_err() && slots(i64::from(MAX_SLOTS) + 2).is_err() && slots(-251).is_err());
    }

    #[test]
    fn a_table_has_room_for_its_backends() {
        assert_eq!(slots_for(251, 251), Ok(()));
        assert!(slots_for(251, 252).unwrap_err().ends_with("the next prime is 257"));
        assert!(slots_for(251, 257).unwrap_err().ends_with("the next prime is 257"));
    }

    #[test]
    fn durations() {
        assert_eq!(duration("interval", "500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("interval", "1s"), Ok(Duration::from_secs(1)));
        assert_eq!(duration("interval", "2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "1", "s", "1.5s", "-1s", "1 s", "1h", "0s", "9ms", "61m", "99999999999999999999s"] {
            assert!(duration("interval", bad).is_err(), "{bad}");
        }
        assert!(duration("interval", "18446744073709551615m").is_err(), "a product that overflows");
    }

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
    fn names_paths_and_hosts() {
        assert!(name(&"x".repeat(64)).is_ok() && name(&"x".repeat(65)).is_err());
        assert!(name("a/b").is_err() && name("").is_err() && name("wéb").is_err());
        assert!(
            path("/a?b=c").is_ok() && path("/a b").is_err() && path("a").is_err() && path("/a#b").is_err()
        );
        assert!(host("www.example.com:80").is_ok() && host("a b").is_err() && host("").is_err());
        assert!(host("a\r\nX: y").is_err());
        assert!(interface("eth0.100").is_ok() && interface("a/b").is_err() && interface("").is_err());
        assert!(interface("0123456789abcde").is_ok() && interface("0123456789abcdef").is_err());
    }
}
