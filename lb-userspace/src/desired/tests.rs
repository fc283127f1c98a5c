use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::model::{Node, RateLimit, XdpMode};
use crate::neighbor::Unresolved;

const NEXT_HOP: NextHop = NextHop {
    interface: String::new(),
    interface_index: 7,
    gateway: None,
    mac: [2, 0, 0, 0, 0, 9],
    source_mac: [2, 0, 0, 0, 0, 1],
    source_address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    mtu_bytes: 1500,
};

fn config(mode: Mode, encap_source: Option<Prefix>) -> Config {
    let backend = |name: &str, last| Backend {
        name: name.to_owned(),
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)),
        port: 80,
        server_id: None,
        weight: 3,
    };
    Config {
        node: Node {
            name: "lb1".to_owned(),
            interfaces: vec!["eth0".to_owned()],
            xdp_mode: XdpMode::Native,
            max_slots: 4096,
            answer_neighbors: true,
            max_flows: 1024,
            max_nat_flows: 1024,
            max_fragments: 512,
        },
        services: vec![Service {
            name: "web".to_owned(),
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)),
            port: 80,
            protocol: Protocol::Tcp,
            mode,
            slots: None,
            encap_source,
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
            backends: vec![backend("web1", 11), backend("web2", 12)],
        }],
    }
}

fn weights_with(change: impl Fn(&mut BackendState)) -> Vec<u32> {
    let config = config(Mode::Dsr, None);
    let mut state = BackendState::default();
    change(&mut state);
    let names = ["web1", "web2"];
    let of_service =
        names.map(|n| (n.to_owned(), if n == "web1" { state.clone() } else { BackendState::default() }));
    let states = States::from([("web".to_owned(), HashMap::from(of_service))]);
    let hops = HashMap::from([11, 12].map(|last| (IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), Ok(NEXT_HOP))));
    let desired = desired(&config, &states, &hops, Vec::new());
    desired.services[0].backends.iter().map(|backend| backend.weight).collect()
}

#[test]
fn health_and_admin_state_both_have_to_allow_traffic() {
    assert_eq!(weights_with(|_| {}), [3, 3]);
    assert_eq!(weights_with(|state| state.health = Some(Health::Up)), [3, 3]);
    assert_eq!(weights_with(|state| state.health = Some(Health::Down)), [0, 3]);
    assert_eq!(weights_with(|state| state.health = Some(Health::Unknown)), [0, 3]);
    assert_eq!(weights_with(|state| state.admin = Admin::Drain), [0, 3]);
}

#[test]
fn a_backend_without_a_neighbor_keeps_its_place_and_gets_no_traffic() {
    let config = config(Mode::Dsr, None);
    let states = States::from([(
        "web".to_owned(),
        HashMap::from(["web1", "web2"].map(|n| (n.to_owned(), BackendState::default()))),
    )]);
    let hops = HashMap::from([
        (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11)), Err(Unresolved::NoRoute)),
        (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 12)), Ok(NEXT_HOP)),
    ]);
    let desired = desired(&config, &states, &hops, vec![(7, [1; 6])]);
    let [first, second] = &desired.services[0].backends[..] else { panic!("two backends") };
    assert_eq!((first.weight, first.entry), (0, None));
    assert_eq!(second.weight, 3);
    assert_eq!(second.entry.map(|entry| entry.interface), Some(7));
    assert_eq!(desired.services[0].size, TableSize::AtLeast(1021));
}

#[test]
fn a_router_in_between_is_no_way_for_dsr() {
    let behind_a_router = NextHop { gateway: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 254))), ..NEXT_HOP };
    let weights = |mode| {
        let config = config(mode, None);
        let states = States::from([(
            "web".to_owned(),
            HashMap::from(["web1", "web2"].map(|n| (n.to_owned(), BackendState::default()))),
        )]);
        let hops = HashMap::from([
            (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11)), Ok(behind_a_router.clone())),
            (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 12)), Ok(NEXT_HOP)),
        ]);
        let desired = desired(&config, &states, &hops, Vec::new());
        desired.services[0].backends.iter().map(|backend| backend.weight).collect::<Vec<_>>()
    };
    assert_eq!(weights(Mode::Dsr), [0, 3]);
    assert_eq!(weights(Mode::Ipip), [3, 3]);
}

/// The entry of `web1` when the service has this VIP and the backend this address.
fn entry_of(mode: Mode, vip: &str, backend: &str, source: &str) -> abi::Backend {
    let mut config = config(mode, None);
    let service = &mut config.services[0];
    service.address = vip.parse().unwrap();
    service.backends[0].address = backend.parse().unwrap();
    if mode.translates() {
        service.backends[0].port = 8080;
    }
    let next_hop = NextHop { source_address: source.parse().unwrap(), ..NEXT_HOP };
    entry(service, &service.backends[0], &next_hop)
}

#[test]
fn an_ipv4_outer_header_is_summed_but_for_what_varies() {
    let entry = entry_of(Mode::Ipip, "192.0.2.10", "10.0.0.11", "10.0.0.1");
    assert_eq!(entry.template[..20], [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 4, 0, 0, 10, 0, 0, 1, 10, 0, 0, 11]);
    assert_eq!(entry.sum, checksum::fold(checksum::sum(&entry.template)));
    assert_eq!((entry.mode, entry.bits), (abi::Mode::IpipV4 as u8, 0));
}

#[test]
fn an_outer_header_names_what_it_carries_and_has_the_family_of_the_backend() {
    let outer = |mode, vip, backend, source| {
        let entry = entry_of(mode, vip, backend, source);
        let next = if entry.template[0] == 0x45 { entry.template[9] } else { entry.template[6] };
        (entry.mode, next)
    };
    let (vip4, vip6) = ("192.0.2.10", "2001:db8::10");
    let (v4, v6) = (("10.0.0.11", "10.0.0.1"), ("fd00::2", "fd00::1"));
    let (ipip_v4, ipip_v6) = (abi::Mode::IpipV4 as u8, abi::Mode::IpipV6 as u8);
    assert_eq!(outer(Mode::Ipip, vip4, v4.0, v4.1), (ipip_v4, 4));
    assert_eq!(outer(Mode::Ipip, vip6, v4.0, v4.1), (ipip_v4, 41));
    assert_eq!(outer(Mode::Ipip, vip4, v6.0, v6.1), (ipip_v6, 4));
    assert_eq!(outer(Mode::Ipip, vip6, v6.0, v6.1), (ipip_v6, 41));
    assert_eq!(outer(Mode::Gue, vip6, v4.0, v4.1), (abi::Mode::GueV4 as u8, 17));
    assert_eq!(outer(Mode::Gue, vip4, v6.0, v6.1), (abi::Mode::GueV6 as u8, 17));
}

#[test]
fn an_ipv6_outer_header_has_both_addresses_and_the_port_of_gue() {
    let ipip = entry_of(Mode::Ipip, "2001:db8::10", "fd00::2", "fd00::1");
    assert_eq!(ipip.template[..8], [0x60, 0, 0, 0, 0, 0, 41, 64]);
    let gue = entry_of(Mode::Gue, "2001:db8::10", "fd00::2", "fd00::1");
    assert_eq!(gue.template[..8], [0x60, 0, 0, 0, 0x17, 0xc0, 17, 64]);
    for entry in [ipip, gue] {
        let template = entry.template;
        assert_eq!((template[8], template[23], template[24], template[39]), (0xfd, 1, 0xfd, 2));
    }
    let in_ipv4 = entry_of(Mode::Gue, "192.0.2.10", "10.0.0.11", "10.0.0.1");
    assert_eq!(in_ipv4.template[20..28], [0, 0, 0x17, 0xc0, 0, 0, 0, 0]);
}

#[test]
fn a_translation_knows_both_ends_and_what_the_checksum_changes_by() {
    let entry = entry_of(Mode::Nat, "192.0.2.10", "10.0.0.11", "10.0.0.1");
    let translation = entry.translation();
    assert_eq!((translation.address[..4].to_vec(), translation.port), (vec![10, 0, 0, 11], [0x1f, 0x90]));
    assert_eq!((translation.vip[..4].to_vec(), translation.vip_port), (vec![192, 0, 2, 10], [0, 80]));
    // The sum over the old header, and what is added to it, make the sum over the new one.
    let sum = |bytes: &[u8]| checksum::fold(checksum::sum(bytes));
    let (old, new) = ([192, 0, 2, 10, 0, 80], [10, 0, 0, 11, 0x1f, 0x90]);
    let followed = checksum::fold(u32::from(sum(&old)) + u32::from(entry.sum));
    assert_eq!(followed, sum(&new));
    let addresses = checksum::fold(u32::from(sum(&old[..4])) + u32::from(entry.bits));
    assert_eq!(addresses, sum(&new[..4]));
}

#[test]
fn only_a_mode_that_translates_tells_backends_apart_by_port() {
    let backend = &config(Mode::Nat, None).services[0].backends[0];
    assert_eq!(server(Mode::Nat, backend).port, 80);
    assert_eq!(server(Mode::Fullnat, backend).port, 80);
    assert_eq!(server(Mode::Dsr, backend).port, 0);
}

#[test]
fn a_dead_backend_takes_its_flows_with_it_unless_they_are_held() {
    let down = |on_down, health, hop: Resolution| {
        let mut config = config(Mode::Dsr, None);
        config.services[0].on_down = on_down;
        let state = BackendState { health, ..BackendState::default() };
        let states = States::from([("web".to_owned(), HashMap::from([("web1".to_owned(), state)]))]);
        let hops = HashMap::from([(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11)), hop)]);
        desired(&config, &states, &hops, Vec::new()).services[0].backends[0].down
    };
    assert!(!down(OnDown::Reset, Some(Health::Up), Ok(NEXT_HOP)));
    assert!(!down(OnDown::Reset, Some(Health::Unknown), Ok(NEXT_HOP)), "nobody knows yet");
    assert!(down(OnDown::Reset, Some(Health::Down), Ok(NEXT_HOP)));
    assert!(down(OnDown::Reset, None, Err(Unresolved::NoRoute)));
    assert!(!down(OnDown::Hold, Some(Health::Down), Ok(NEXT_HOP)));
}

#[test]
fn the_program_gets_what_the_services_use_and_nothing_else() {
    let of = |change: &dyn Fn(&mut Config)| {
        let mut config = config(Mode::Dsr, None);
        config.node.answer_neighbors = false;
        config.services[0].tracking = Tracking::Off;
        change(&mut config);
        features(&config)
    };
    assert_eq!(of(&|_| {}), Features::NONE);
    assert_eq!(of(&|config| config.node.answer_neighbors = true), Features::NEIGHBORS);
    assert_eq!(of(&|config| config.services[0].tracking = Tracking::Full), Features::TRACKING);
    assert_eq!(of(&|config| config.services[0].quic = true), Features::QUIC);
    for (mode, feature) in [
        (Mode::Ipip, Features::IPIP),
        (Mode::Gue, Features::GUE),
        (Mode::Nat, Features::NAT),
        (Mode::Fullnat, Features::FULLNAT),
    ] {
        assert_eq!(of(&|config| config.services[0].mode = mode), feature);
    }
    let prefix = Prefix { address: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 0)), length_bits: 24 };
    assert_eq!(of(&|config| config.services[0].deny = vec![prefix]), Features::LISTS);
}

#[test]
fn a_rate_becomes_the_time_in_which_one_connection_is_earned() {
    let limit = |per_second_milli| {
        let mut config = config(Mode::Dsr, None);
        config.services[0].rate_limit = Some(RateLimit { per_second_milli, burst: 5 });
        settings(&config.services[0]).limit
    };
    assert_eq!(limit(1_000), Some((1_000_000, 5)), "one a second");
    assert_eq!(limit(17), Some((58_823_529, 5)), "one a minute");
    assert_eq!(limit(1_000_000_000), Some((1, 5)), "a million a second");
}

#[test]
fn a_source_prefix_frees_at_most_sixteen_bits() {
    let prefix = |length_bits| Prefix { address: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), length_bits };
    let mask = |length_bits| outer_source(Some(prefix(length_bits)), NEXT_HOP.source_address).1;
    assert_eq!([mask(8), mask(16), mask(24), mask(31), mask(32)], [0xffff, 0xffff, 0xff, 1, 0]);
    assert_eq!(outer_source(None, NEXT_HOP.source_address), (NEXT_HOP.source_address, 0));
}
