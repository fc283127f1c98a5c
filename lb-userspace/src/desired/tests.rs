use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::*;
use crate::model::{Backend, Node, OnDown, Tracking, XdpMode};
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
    let desired = desired(&config, &states, &hops, vec![[1; 6]]);
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

#[test]
fn an_ipv4_outer_header_is_summed_but_for_what_varies() {
    let config = config(Mode::Ipip, None);
    let entry = entry(&config.services[0], IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11)), &NEXT_HOP);
    assert_eq!(entry.outer[..20], [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 4, 0, 0, 10, 0, 0, 1, 10, 0, 0, 11]);
    assert_eq!(entry.outer_sum, checksum::fold(checksum::sum(&entry.outer)));
    assert_eq!((entry.mode, entry.outer_source_mask), (abi::Mode::IpipV4 as u8, 0));
}

#[test]
fn an_ipv6_outer_header_names_what_it_carries() {
    let address = |last| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last));
    let next_hop = NextHop { source_address: address(1), ..NEXT_HOP };
    let entry = entry(&config(Mode::Ipip, None).services[0], address(2), &next_hop);
    assert_eq!(entry.outer[..8], [0x60, 0, 0, 0, 0, 0, 41, 64]);
    assert_eq!((entry.outer[8], entry.outer[23], entry.outer[24], entry.outer[39]), (0xfd, 1, 0xfd, 2));
    assert_eq!(entry.mode, abi::Mode::IpipV6 as u8);
}

#[test]
fn a_source_prefix_frees_at_most_sixteen_bits() {
    let prefix = |length_bits| Prefix { address: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), length_bits };
    let mask = |length_bits| outer_source(Some(prefix(length_bits)), NEXT_HOP.source_address).1;
    assert_eq!([mask(8), mask(16), mask(24), mask(31), mask(32)], [0xffff, 0xffff, 0xff, 1, 0]);
    assert_eq!(outer_source(None, NEXT_HOP.source_address), (NEXT_HOP.source_address, 0));
}
