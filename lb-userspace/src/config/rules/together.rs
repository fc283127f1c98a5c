//! What must fit together: a key and a mode, a backend and what stands beside it.
//!
//! `line` is where the other thing stands, as in ` (line 7)`; empty if nobody knows.

use std::net::IpAddr;

use crate::model::{Mode, Prefix, Protocol, Tracking};

/// A key that has a meaning in some modes only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum ModeKey {
    EncapSource,
    GuePort,
    SourceAddresses,
    /// Of a backend.
    Port,
}

pub(in crate::config) fn has_meaning(key: ModeKey, mode: Mode) -> Result<(), String> {
    let (word, meant, why) = match key {
        ModeKey::EncapSource => ("encap_source", mode.encapsulates(), "adds no header"),
        ModeKey::GuePort => ("gue_port", mode == Mode::Gue, "adds no UDP header"),
        ModeKey::SourceAddresses => ("source_addresses", mode == Mode::Fullnat, "keeps the client's address"),
        ModeKey::Port => ("port", mode.translates(), "keeps the service's port"),
    };
    if meant {
        return Ok(());
    }
    Err(format!("{word} has no meaning in mode {mode}, which {why}: remove it"))
}

/// What the address of a backend must have in common with the VIP; with an outer header nothing.
pub(in crate::config) fn same_family(mode: Mode, vip: IpAddr, backend: IpAddr) -> Result<(), String> {
    if mode.encapsulates() || vip.is_ipv4() == backend.is_ipv4() {
        return Ok(());
    }
    let (wanted, given) = (family(vip), family(backend));
    Err(format!(
        "address {backend} is an {given} address behind the {wanted} address {vip}, which mode {mode} cannot \
         carry: give the backend's {wanted} address"
    ))
}

/// What the address of a backend must have in common with that of the service's first one, `other`: the outer headers of a
/// service are of one family.
pub(in crate::config) fn one_family(
    mode: Mode,
    backend: IpAddr,
    other: (&str, IpAddr),
    line: &str,
) -> Result<(), String> {
    let (name, first) = other;
    if !mode.encapsulates() || first.is_ipv4() == backend.is_ipv4() {
        return Ok(());
    }
    let (wanted, given) = (family(first), family(backend));
    Err(format!(
        "address {backend} is an {given} address beside the {wanted} address {first} of {name}{line}, and all backends \
         of a service need one family in mode {mode}: give the backend's {wanted} address"
    ))
}

/// What `encap_source` must have in common with the backend of this address.
pub(in crate::config) fn encap_family(
    source: Prefix,
    backend: (&str, IpAddr),
    line: &str,
) -> Result<(), String> {
    let (name, address) = backend;
    if source.address.is_ipv4() == address.is_ipv4() {
        return Ok(());
    }
    Err(format!(
        "encap_source {source} is not of the family of {address}, the address of {name}{line}: give an {} prefix",
        family(address)
    ))
}

/// What an address that stands in for the clients' must have in common with the VIP, and so with the backends.
pub(in crate::config) fn source_family(vip: IpAddr, source: IpAddr) -> Result<(), String> {
    if vip.is_ipv4() == source.is_ipv4() {
        return Ok(());
    }
    Err(format!("address {source} is not of the family of {vip}: give an {} address", family(vip)))
}

/// Why a service may not send from the address of another service or of a backend, `owner`.
pub(in crate::config) fn source_of(address: IpAddr, owner: &str) -> String {
    format!(
        "address {address} is the address of {owner}: replies sent there would be taken for something else; give an \
         address of this node that nothing else uses"
    )
}

/// What the sources that a service allows or denies must have in common with its VIP.
pub(in crate::config) fn sources_family(key: &str, vip: IpAddr, prefix: Prefix) -> Result<(), String> {
    if vip.is_ipv4() == prefix.address.is_ipv4() {
        return Ok(());
    }
    Err(format!("{key} {prefix} is not of the family of {vip}: give an {} prefix", family(vip)))
}

/// What the address of a service's first backend must have in common with an `encap_source` that is there already.
pub(in crate::config) fn family_of_source(backend: IpAddr, source: Prefix) -> Result<(), String> {
    if source.address.is_ipv4() == backend.is_ipv4() {
        return Ok(());
    }
    Err(format!(
        "address {backend} is not of the family of encap_source {source}: give the backend's {} address",
        family(source.address)
    ))
}

/// Why a backend may not have the address of a service.
pub(in crate::config) fn not_a_vip(address: IpAddr, service: &str, line: &str) -> String {
    format!(
        "address {address} is the address of service {service}{line}: packets sent there would come back; give the \
         server's own address"
    )
}

/// Why a backend may not have an address that a service sends from.
pub(in crate::config) fn not_a_source(address: IpAddr, service: &str) -> String {
    format!(
        "address {address} is one of the source_addresses of service {service}: packets sent there would come back; \
         give the server's own address"
    )
}

/// Why two backends of one service may not be the same; `port` is given where it tells them apart.
pub(in crate::config) fn already_used(address: IpAddr, port: Option<u16>, other: &str, line: &str) -> String {
    match port {
        None => format!("address {address} is already used by {other}{line}"),
        Some(port) => format!("address {address}, port {port} is already used by {other}{line}"),
    }
}

/// Why two backends of one service may not have one server ID.
pub(in crate::config) fn server_id_used(id: u16, other: &str, line: &str) -> String {
    format!("server_id {id} is already used by {other}{line}: choose another")
}

/// Why a server may not answer for two services in mode nat: a reply says nothing but where it comes from.
pub(in crate::config) fn already_answers(server: (IpAddr, u16, Protocol), other: &str, line: &str) -> String {
    let (address, port, protocol) = server;
    format!(
        "address {address}, port {port}, {protocol} already answers in mode nat for {other}{line}, and replies could not \
         be told apart: use another port, or mode fullnat for one of the two services"
    )
}

/// Whether new flows can be told from old ones, so that only these count.
pub(in crate::config) fn knows_new_flows(protocol: Protocol, tracking: Tracking) -> Result<(), String> {
    let why = match (protocol, tracking) {
        // A SYN begins a flow whether it is remembered or not.
        (Protocol::Tcp, Tracking::Adaptive | Tracking::Full | Tracking::Off)
        | (Protocol::Udp, Tracking::Full) => return Ok(()),
        (Protocol::Udp, Tracking::Adaptive) => "takes an unknown udp flow for an old one",
        (Protocol::Udp, Tracking::Off) => "remembers none",
    };
    Err(format!(
        "rate_limit counts new flows, and tracking {tracking} {why}: set tracking to \"full\", or remove rate_limit"
    ))
}

/// What a service must be so that QUIC connections can be followed.
pub(in crate::config) fn quic_fits(protocol: Protocol, tracking: Tracking) -> Result<(), String> {
    match (protocol, tracking) {
        (Protocol::Tcp, Tracking::Adaptive | Tracking::Full | Tracking::Off) => {
            Err("quic has no meaning with protocol tcp: remove it, or change protocol to \"udp\"".to_owned())
        }
        (Protocol::Udp, Tracking::Full) => Ok(()),
        (Protocol::Udp, Tracking::Adaptive | Tracking::Off) => Err(format!(
            "quic needs tracking full, not {tracking}, because the first packets of a connection name no server: set \
             tracking to \"full\", or remove quic"
        )),
    }
}

/// A backend has a server ID if its service follows QUIC connections, and not otherwise.
pub(in crate::config) fn server_id_fits(quic: bool, given: Option<u16>) -> Result<(), String> {
    match (quic, given) {
        (true, Some(_)) | (false, None) => Ok(()),
        (true, None) => {
            Err("server_id is missing: a quic service needs one from 0 to 65535 for every backend, the one \
                             that the server writes into its connection IDs"
                .to_owned())
        }
        (false, Some(_)) => {
            Err("server_id has no meaning without quic: remove it, or set quic of the service to true"
                .to_owned())
        }
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [Mode; 5] = [Mode::Dsr, Mode::Ipip, Mode::Gue, Mode::Nat, Mode::Fullnat];

    #[test]
    fn each_key_has_its_modes() {
        for (key, modes) in [
            (ModeKey::EncapSource, &[Mode::Ipip, Mode::Gue][..]),
            (ModeKey::GuePort, &[Mode::Gue]),
            (ModeKey::SourceAddresses, &[Mode::Fullnat]),
            (ModeKey::Port, &[Mode::Nat, Mode::Fullnat]),
        ] {
            for mode in MODES {
                assert_eq!(has_meaning(key, mode).is_ok(), modes.contains(&mode), "{key:?} {mode}");
            }
        }
    }

    #[test]
    fn families() {
        let (v4, v6): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [0xfd00, 0, 0, 0, 0, 0, 0, 1].into());
        for mode in MODES {
            let outer = matches!(mode, Mode::Ipip | Mode::Gue);
            for (first, second) in [(v4, v4), (v4, v6), (v6, v4), (v6, v6)] {
                let same = first.is_ipv4() == second.is_ipv4();
                assert_eq!(
                    same_family(mode, first, second).is_ok(),
                    same || outer,
                    "{mode} {first} {second}"
                );
                let beside = one_family(mode, second, ("b", first), "");
                assert_eq!(beside.is_ok(), same || !outer, "{mode} {first} {second}");
            }
        }
    }

    #[test]
    fn what_knows_new_flows_and_follows_quic() {
        use Tracking::{Adaptive, Full, Off};
        for tracking in [Adaptive, Full, Off] {
            assert!(knows_new_flows(Protocol::Tcp, tracking).is_ok());
            assert_eq!(knows_new_flows(Protocol::Udp, tracking).is_ok(), tracking == Full);
            assert!(quic_fits(Protocol::Tcp, tracking).is_err());
            assert_eq!(quic_fits(Protocol::Udp, tracking).is_ok(), tracking == Full);
        }
    }
}
