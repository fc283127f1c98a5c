//! Do all services together fit into the data plane? Its tables have a fixed size, and a node that starts with what does
//! not fit would serve a part of its services only.

use std::collections::BTreeSet;

use lb_common::abi::backend::MAX_BACKENDS;
use lb_common::abi::connection::MAX_PREFIXES;
use lb_common::abi::control::MAX_MACS;
use lb_common::abi::node::MAX_SOURCES;
use lb_common::abi::service::MAX_SERVICES_AND_VIPS;
use lb_common::abi::slot::SLOTS_PER_LINE;
use lb_common::maglev::table_size;

use crate::model::{Config, Mode, Service};

/// Which key of `[node]` a problem of capacity belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// `interfaces`.
    Interfaces,
    /// `max_slots`.
    MaxSlots,
    /// No single key.
    Nothing,
}

/// What does not fit; empty if everything does.
pub(super) fn check(config: &Config) -> Vec<(Blame, String)> {
    let most_entries = MAX_SERVICES_AND_VIPS;
    let most_backends = MAX_BACKENDS as usize - 1;
    let interfaces = config.node.interfaces.len();
    let vips: BTreeSet<_> = config.services.iter().map(|service| service.address).collect();
    let (services, vips) = (config.services.len(), vips.len());
    let of_nat = config.services.iter().filter(|service| service.mode == Mode::Nat);
    let repliers: BTreeSet<_> = of_nat
        .flat_map(|service| service.backends.iter().map(|one| (one.address, one.port, service.protocol)))
        .collect();
    let sources: BTreeSet<_> = config.services.iter().flat_map(|service| &service.source_addresses).collect();
    let (repliers, sources) = (repliers.len(), sources.len());
    let backends: usize = config.services.iter().map(|service| service.backends.len()).sum();
    let max_slots = config.node.max_slots;
    let slots: u64 = config.services.iter().map(slots).sum();
    let prefixes: usize =
        config.services.iter().map(|service| service.allow.len() + service.deny.len()).sum();

    let mut problems = Vec::new();
    if interfaces > MAX_MACS {
        let text =
            format!("node: {interfaces} interfaces are more than the {MAX_MACS} that one node can have");
        problems.push((Blame::Interfaces, text));
    }
    if services + vips + repliers + sources > most_entries {
        let mut all = format!("{services} services and {vips} addresses");
        if repliers + sources > 0 {
            all = format!(
                "{services} services, {vips} addresses, {repliers} backends of mode nat and {sources} source addresses"
            );
        }
        let text = format!("{all} are more than the {most_entries} that one node can have together");
        problems.push((Blame::Nothing, text));
    }
    // Each list is handed out in whole lines, as slots are.
    let listed = |service: &Service| service.source_addresses.len().next_multiple_of(SLOTS_PER_LINE as usize);
    let places: usize = config.services.iter().map(listed).sum();
    if places > MAX_SOURCES as usize {
        let text = format!(
            "the lists of source_addresses take {places} places, each list a multiple of {SLOTS_PER_LINE}, more than the \
             {MAX_SOURCES} of one node"
        );
        problems.push((Blame::Nothing, text));
    }
    if backends > most_backends {
        let text = format!("{backends} backends are more than the {most_backends} that one node can have");
        problems.push((Blame::Nothing, text));
    }
    if prefixes > MAX_PREFIXES as usize {
        let text = format!(
            "{prefixes} prefixes in allow and deny are more than the {MAX_PREFIXES} that one node can have"
        );
        problems.push((Blame::Nothing, text));
    }
    if slots > u64::from(max_slots) {
        let text = format!(
            "node: the services need {slots} slots together, more than max_slots {max_slots}: raise it, or give services \
             smaller slots"
        );
        problems.push((Blame::MaxSlots, text));
    }
    problems
}

/// Slots of a service in whole cache lines, as they are handed out.
fn slots(service: &Service) -> u64 {
    let weighted = service.backends.iter().filter(|backend| backend.weight > 0).count();
    let size = service.slots.unwrap_or_else(|| table_size(u32::try_from(weighted).unwrap_or(u32::MAX)));
    u64::from(size).next_multiple_of(u64::from(SLOTS_PER_LINE))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use super::{Blame, check};
    use crate::model::{Backend, Config, Mode, Node, OnDown, Prefix, Protocol, Service, Tracking, XdpMode};

    fn address(number: usize) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(number).unwrap()).into()
    }

    fn config(interfaces: usize, services: usize, backends: usize, max_slots: u32) -> Config {
        let backend =
            |n| Backend { name: format!("b{n}"), address: address(n), port: 80, server_id: None, weight: 1 };
        let service = |n| Service {
            name: format!("s{n}"),
            address: address(n),
            port: 80,
            protocol: Protocol::Tcp,
            mode: Mode::Dsr,
            slots: Some(1009),
            encap_source: None,
            gue_port: 6080,
            source_addresses: Vec::new(),
            tracking: Tracking::Adaptive,
            idle_timeout: Duration::from_secs(300),
            on_down: OnDown::Reset,
            allow: Vec::new(),
            deny: Vec::new(),
            rate_limit: None,
            quic: false,
            check: None,
            backends: (0..backends).map(backend).collect(),
        };
        let interfaces = (0..interfaces).map(|n| format!("eth{n}")).collect();
        let node = Node {
            name: "n".to_owned(),
            interfaces,
            xdp_mode: XdpMode::Auto,
            max_slots,
            answer_neighbors: true,
            max_flows: 1024,
            max_nat_flows: 1024,
            max_fragments: 512,
        };
        Config { node, services: (0..services).map(service).collect() }
    }

    #[test]
    fn each_table_has_a_last_that_fits() {
        let most = 1 << 26;
        for (fits, too_many, blame) in [
            (config(8, 0, 0, most), config(9, 0, 0, most), Blame::Interfaces),
            (config(1, 3072, 0, most), config(1, 3073, 0, most), Blame::Nothing),
            (config(1, 1, 32_767, most), config(1, 1, 32_768, most), Blame::Nothing),
            (config(1, 2, 0, 2 * 1024), config(1, 2, 0, 2 * 1024 - 1), Blame::MaxSlots),
        ] {
            assert_eq!(check(&fits), []);
            let blamed: Vec<Blame> = check(&too_many).into_iter().map(|(blame, _)| blame).collect();
            assert_eq!(blamed, [blame]);
        }
    }

    #[test]
    fn who_is_recognised_by_a_reply_has_an_entry_too() {
        // One service and one address: the rest is for backends.
        let most = super::MAX_SERVICES_AND_VIPS - 2;
        let mut config = config(1, 1, most, 1 << 26);
        config.services[0].mode = Mode::Nat;
        assert_eq!(check(&config), []);
        config.services[0].source_addresses.push(address(1 << 20));
        let text = format!(
            "1 services, 1 addresses, {most} backends of mode nat and 1 source addresses are more than the 6144 that one \
             node can have together"
        );
        assert_eq!(check(&config), [(Blame::Nothing, text)]);
    }

    #[test]
    fn lists_of_sources_take_whole_lines() {
        let mut config = config(1, 256, 0, 1 << 26);
        for (number, service) in config.services.iter_mut().enumerate() {
            service.source_addresses.push(address((1 << 20) + number));
        }
        assert_eq!(check(&config), []);
        config.services[0].source_addresses.extend((0..16).map(|number| address((1 << 21) + number)));
        let text = "the lists of source_addresses take 4112 places, each list a multiple of 16, more than the 4096 of one node";
        assert_eq!(check(&config), [(Blame::Nothing, text.to_owned())]);
    }

    #[test]
    fn the_lists_of_all_services_count_together() {
        let mut config = config(1, 2, 0, 2048);
        let prefix = |n| Prefix { address: address(n), length_bits: 32 };
        config.services[0].allow = (0..40_000).map(prefix).collect();
        config.services[1].deny = (0..25_536).map(prefix).collect();
        assert_eq!(check(&config), []);
        config.services[0].deny.push(prefix(50_000));
        let text =
            "65537 prefixes in allow and deny are more than the 65536 that one node can have".to_owned();
        assert_eq!(check(&config), [(Blame::Nothing, text)]);
    }

    #[test]
    fn a_table_that_follows_its_backends_counts_too() {
        let mut config = config(1, 1, 20, 2048);
        config.services[0].slots = None;
        assert_eq!(check(&config), [], "20 backends take 2,039 slots in 128 lines of 16");
        config.node.max_slots = 2039;
        assert_eq!(check(&config).len(), 1);
    }
}
