//! Events in, tables and answers out, over memory.
//!
//! Checks never run here: their tasks are spawned and the runtime is not given a turn. What they would say is said by the test.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lb_common::abi::slot::Slot;
use lb_common::hash::FlowKey;
use tokio::sync::oneshot;

use super::*;
use crate::api::types::{self, BackendHealth, Neighbor};
use crate::config::NewBackend;
use crate::dataplane::kernel::Attached;
use crate::dataplane::memory::Memory;
use crate::dataplane::tables::Sizes;
use crate::model::{Check, CheckKind, Mode, Node, OnDown, Protocol, Tracking, XdpMode};
use crate::neighbor::{Interface, NextHop, Unresolved};

/// Slots of a service with at most ten backends.
const SMALL: u32 = 1021;

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

/// `web1` has 10.0.0.1.
fn backend(number: u8) -> Backend {
    Backend { name: format!("web{number}"), address: ip(number), port: 80, server_id: None, weight: 1 }
}

/// The service `web` with these backends, without a check.
fn config(backends: impl IntoIterator<Item = u8>) -> Config {
    let node = Node {
        name: "lb1".to_owned(),
        interfaces: vec!["eth0".to_owned()],
        xdp_mode: XdpMode::Auto,
        max_slots: 4096,
        answer_neighbors: true,
        max_flows: 1024,
        max_nat_flows: 1024,
        max_fragments: 512,
    };
    Config { node, services: vec![service("web", 80, backends)] }
}

fn service(name: &str, port: u16, backends: impl IntoIterator<Item = u8>) -> Service {
    Service {
        name: name.to_owned(),
        address: Ipv4Addr::new(192, 0, 2, 10).into(),
        port,
        protocol: Protocol::Tcp,
        mode: Mode::Dsr,
        slots: None,
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
        backends: backends.into_iter().map(backend).collect(),
    }
}

fn checked(mut config: Config) -> Config {
    config.services[0].check = Some(Check {
        kind: CheckKind::Tcp,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 3,
        port: None,
    });
    config
}

fn hop(last: u8) -> NextHop {
    NextHop {
        interface: "eth0".to_owned(),
        interface_index: 7,
        mac: [2, 0, 0, 0, 0, last],
        gateway: None,
        source_mac: [2, 0, 0, 0, 0, 0xaa],
        source_address: ip(200),
        mtu_bytes: 1500,
    }
}

fn snapshot(resolved: impl IntoIterator<Item = u8>) -> Snapshot {
    let interface = Interface { name: "eth0".to_owned(), mac: Some([2, 0, 0, 0, 0, 0xaa]), mtu_bytes: 1500 };
    Snapshot {
        next_hops: resolved.into_iter().map(|last| (ip(last), Ok(hop(last)))).collect(),
        interfaces: HashMap::from([(7, interface)]),
    }
}

/// A node with this configuration, all neighbors known, as it is after a start.
fn core(config: Config) -> Core<Memory> {
    let mut core = idle(config);
    core.reconcile().unwrap();
    core
}

fn idle(config: Config) -> Core<Memory> {
    let sizes = Sizes { slots: config.node.max_slots, flows: 1024, fragments: 8, connections: 8 };
    let memory = Memory::new(&sizes, FlowKey::from_secret([7; 16])).unwrap();
    // Nobody listens to the checks: see above.
    let (health_events, _) = mpsc::channel(1);
    Core::new(config, memory, snapshot(0..100), health_events)
}

fn ask<T>(core: &mut Core<Memory>, request: impl FnOnce(api::Reply<T>) -> Request) -> Result<T, api::Error> {
    let identity =
        Identity { attached: vec![("eth0".to_owned(), Attached::Generic)], started: Instant::now() };
    let (reply, mut answer) = oneshot::channel();
    core.on_request(request(reply), &identity);
    answer.try_recv().expect("an answer at once")
}

fn backends(core: &mut Core<Memory>) -> Vec<types::Backend> {
    ask(core, |reply| Request::Backends { service: None, reply }).unwrap().backends
}

fn slots(core: &mut Core<Memory>) -> Vec<u32> {
    backends(core).iter().map(|backend| backend.slots).collect()
}

fn tables(core: &Core<Memory>) -> Vec<Slot> {
    let tables = core.dataplane.tables();
    (0..tables.max_slots()).map(|index| tables.slot(index).unwrap()).collect()
}

/// Whom new flows of each slot go to.
fn currents(core: &Core<Memory>) -> Vec<Option<BackendId>> {
    tables(core).into_iter().map(Slot::current).collect()
}

/// Lets seconds go by.
fn wait(core: &mut Core<Memory>, seconds: u64) {
    core.clock.ahead += seconds;
    core.on_tick().unwrap();
}

fn health(core: &mut Core<Memory>, backend: &str, health: Health) {
    let (service, backend) = core
        .config
        .services
        .iter()
        .flat_map(|service| service.backends.iter().map(move |backend| (service, backend)))
        .find(|(_, one)| one.name == backend)
        .expect("a test names a backend");
    let Some(target) = target(service, backend) else { return };
    let event = health::Event { target, health, detail: format!("said {health:?}") };
    core.on_health(event);
    core.reconcile().unwrap();
}

fn admin(core: &mut Core<Memory>, name: &str, admin: Admin) -> Result<(), api::Error> {
    let (service, name) = ("web".to_owned(), name.to_owned());
    ask(core, |reply| Request::SetAdmin { service, name, admin, reply })
}

fn add(core: &mut Core<Memory>, service: &str, name: &str, address: &str) -> Result<(), api::Error> {
    let backend = NewBackend {
        name: name.to_owned(),
        address: address.to_owned(),
        port: None,
        server_id: None,
        weight: 1,
    };
    ask(core, |reply| Request::AddBackend { service: service.to_owned(), backend, reply })
}

fn delete(core: &mut Core<Memory>, service: &str, name: &str) -> Result<(), api::Error> {
    let (service, name) = (service.to_owned(), name.to_owned());
    ask(core, |reply| Request::DeleteBackend { service, name, reply })
}

/// Half of the slots of a small service, in the order of the configuration.
fn is_even(slots: &[u32]) -> bool {
    matches!(slots, [510, 511] | [511, 510])
}

// ---------------------------------------------------------------- health

#[tokio::test]
async fn health_moves_slots_and_back() {
    let mut core = core(checked(config([1, 2])));
    assert_eq!(slots(&mut core), [0, 0], "nothing is known yet");
    health(&mut core, "web1", Health::Up);
    assert_eq!(slots(&mut core), [SMALL, 0]);
    health(&mut core, "web2", Health::Up);
    let (both, even) = (currents(&core), slots(&mut core));
    assert!(is_even(&even), "{even:?}");
    for lost in [Health::Down, Health::Unknown] {
        health(&mut core, "web1", lost);
        assert_eq!(slots(&mut core), [0, SMALL]);
        health(&mut core, "web1", Health::Up);
        assert!(currents(&core) == both, "the same slots as before");
    }
}

#[tokio::test]
async fn a_report_tells_what_the_check_said() {
    let mut core = core(checked(config([1, 2])));
    health(&mut core, "web2", Health::Down);
    let [first, second] = &backends(&mut core)[..] else { panic!("two backends") };
    assert_eq!((first.health, first.detail.as_str()), (BackendHealth::Unknown, ""));
    assert_eq!((second.health, second.detail.as_str()), (BackendHealth::Down, "said Down"));
}

#[tokio::test]
async fn a_check_that_was_stopped_is_not_listened_to() {
    let mut core = core(checked(config([1, 2])));
    health(&mut core, "web1", Health::Up);
    let stopped = target(&core.config.services[0], &core.config.services[0].backends[0]).unwrap();
    let mut moved = checked(config([1, 2]));
    moved.services[0].backends[0].address = ip(9);
    assert_eq!(core.reload(moved), Ok(()));
    let before = tables(&core);
    core.on_health(health::Event {
        target: stopped,
        health: Health::Up,
        detail: "of another server".to_owned(),
    });
    core.reconcile().unwrap();
    assert!(tables(&core) == before);
    assert_eq!(backends(&mut core)[0].health, BackendHealth::Unknown);
}

// ---------------------------------------------------------------- what operators ask for

#[test]
fn drain_takes_the_slots_and_ready_gives_them_back() {
    let mut core = core(config([1, 2]));
    let (before, settled) = (currents(&core), tables(&core));
    for _ in 0..2 {
        assert_eq!(admin(&mut core, "web2", Admin::Drain), Ok(()));
        assert_eq!(slots(&mut core), [SMALL, 0]);
        assert_eq!(backends(&mut core)[1].admin, Admin::Drain);
    }
    assert_eq!(admin(&mut core, "web2", Admin::Ready), Ok(()));
    assert!(currents(&core) == before);
    assert!(tables(&core) != settled, "flows may have begun elsewhere meanwhile");
    wait(&mut core, 302);
    assert!(tables(&core) == settled);
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let mut core = core(config([1, 2]));
    let (before, config) = (tables(&core), core.config.clone());
    let no_service = api::Error::NotFound("service wbe: not found: did you mean web?".to_owned());
    let no_backend =
        api::Error::NotFound("service web: backend wed1: not found: did you mean web1?".to_owned());
    assert_eq!(add(&mut core, "wbe", "web3", "10.0.0.3"), Err(no_service.clone()));
    assert_eq!(delete(&mut core, "wbe", "web1"), Err(no_service.clone()));
    assert_eq!(delete(&mut core, "web", "wed1"), Err(no_backend.clone()));
    assert_eq!(admin(&mut core, "wed1", Admin::Drain), Err(no_backend));
    let asked = ask(&mut core, |reply| Request::Backends { service: Some("wbe".to_owned()), reply });
    assert_eq!(asked, Err(no_service));
    assert!(core.config == config && tables(&core) == before);
}

#[test]
fn an_added_backend_gets_slots_once_its_neighbor_is_known() {
    let mut core = core(config([1]));
    assert_eq!(add(&mut core, "web", "extra", "10.0.1.1"), Ok(()));
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));
    assert!(core.addresses().contains(&address), "it is looked up");
    let [_, added] = &backends(&mut core)[..] else { panic!("two backends") };
    assert_eq!((added.name.as_str(), added.serving, added.next_hop.as_deref()), ("extra", false, None));
    assert_eq!(
        (added.neighbor, added.detail.as_str()),
        (Neighbor::Unresolved, "its next hop is being looked up")
    );
    let mut found = snapshot(0..100);
    found.next_hops.insert(address, Ok(hop(101)));
    core.on_snapshot(found);
    core.reconcile().unwrap();
    assert!(is_even(&slots(&mut core)));
}

#[test]
fn what_breaks_a_rule_is_not_added() {
    let mut core = core(config([1, 2]));
    let (before, config) = (tables(&core), core.config.clone());
    for (name, address, why) in [
        ("web3", "10.0.0.2", "service web: backend web3: address 10.0.0.2 is already used by web2"),
        (
            "web1",
            "10.0.0.3",
            "service web: backend web1: a backend of this name is already there: choose another name, or delete that one first",
        ),
    ] {
        assert_eq!(add(&mut core, "web", name, address), Err(api::Error::Invalid(why.to_owned())));
    }
    assert!(core.config == config && tables(&core) == before);
}

#[test]
fn a_backend_for_which_there_is_no_room_is_a_conflict() {
    let mut full = config(1..=10);
    full.node.max_slots = 1024;
    let mut core = core(full);
    admin(&mut core, "web2", Admin::Drain).unwrap();
    let (before, config) = (tables(&core), core.config.clone());
    let why = "service web: no room for 2039 slots: 1024 of 1024 are in use: raise max_slots in [node]";
    assert_eq!(add(&mut core, "web", "web11", "10.0.0.11"), Err(api::Error::Conflict(why.to_owned())));
    assert!(core.config == config);
    core.reconcile().unwrap();
    assert!(tables(&core) == before, "also after the next event");
    assert_eq!(backends(&mut core)[1].admin, Admin::Drain);
    assert!(!core.addresses().contains(&ip(11)));
}

#[test]
fn a_deleted_backend_is_leaving_until_its_flows_have_ended_and_is_forgotten_then() {
    let mut core = core(config([1, 2]));
    admin(&mut core, "web1", Admin::Drain).unwrap();
    assert_eq!(delete(&mut core, "web", "web1"), Ok(()));
    let [stays, leaves] = &backends(&mut core)[..] else { panic!("two backends") };
    assert_eq!((stays.name.as_str(), stays.slots, stays.leaving), ("web2", SMALL, false));
    assert_eq!((leaves.name.as_str(), leaves.slots, leaves.leaving), ("web1", 0, true));
    assert!(core.addresses().contains(&ip(1)), "its flows still need its neighbor");
    wait(&mut core, 299);
    assert_eq!(backends(&mut core).len(), 2, "a flow may have been silent for as long as this");
    wait(&mut core, 3);
    assert_eq!(slots(&mut core), [SMALL]);
    assert!(!core.addresses().contains(&ip(1)));
    assert_eq!(delete(&mut core, "web", "web2"), Ok(()));
    assert!(tables(&core).iter().all(|slot| slot.current().is_none()));
    wait(&mut core, 302);
    assert_eq!(add(&mut core, "web", "web1", "10.0.0.1"), Ok(()));
    let [back] = &backends(&mut core)[..] else { panic!("one backend") };
    assert_eq!((back.admin, back.slots, back.share), (Admin::Ready, SMALL, 1.0));
}

// ---------------------------------------------------------------- reload

#[tokio::test]
async fn a_reload_keeps_what_is_known_of_backends_that_stay() {
    let mut core = core(checked(config([1, 2, 3, 4])));
    for (name, what) in
        [("web1", Health::Up), ("web2", Health::Up), ("web3", Health::Down), ("web4", Health::Up)]
    {
        health(&mut core, name, what);
    }
    admin(&mut core, "web2", Admin::Drain).unwrap();
    let mut next = checked(config([5, 3, 2, 1]));
    next.services[0].backends[3].weight = 10;
    assert_eq!(core.reload(next), Ok(()));
    let known: Vec<_> =
        backends(&mut core).into_iter().map(|b| (b.name, b.health, b.admin, b.slots)).collect();
    let expected = [
        ("web5", BackendHealth::Unknown, Admin::Ready, 0),
        ("web3", BackendHealth::Down, Admin::Ready, 0),
        ("web2", BackendHealth::Up, Admin::Drain, 0),
        ("web1", BackendHealth::Up, Admin::Ready, SMALL),
    ];
    let stay = &known[..4];
    assert_eq!(stay, expected.map(|(name, health, admin, slots)| (name.to_owned(), health, admin, slots)));
    assert_eq!(core.checkers.len(), 5, "web4 is checked while it has flows");
    wait(&mut core, 302);
    assert_eq!(core.checkers.len(), 4, "the check of web4 is stopped");
}

#[tokio::test]
async fn another_address_under_an_old_name_is_another_server() {
    let mut core = core(checked(config([1, 2])));
    health(&mut core, "web1", Health::Up);
    admin(&mut core, "web1", Admin::Drain).unwrap();
    let mut next = checked(config([1, 2]));
    next.services[0].backends[0].address = ip(9);
    assert_eq!(core.reload(next), Ok(()));
    let first = &backends(&mut core)[0];
    assert_eq!((first.health, first.admin), (BackendHealth::Unknown, Admin::Drain));
}

#[test]
fn a_reload_adds_and_removes_services() {
    let mut core = core(config([1, 2]));
    let mut next = config([]);
    next.services = vec![service("api", 8080, [1]), service("db", 3306, [2, 3])];
    assert_eq!(core.reload(next), Ok(()));
    let services = ask(&mut core, |reply| Request::Services { reply }).unwrap().services;
    let names: Vec<_> = services.iter().map(|s| (s.name.as_str(), s.backends_serving)).collect();
    assert_eq!(names, [("api", 1), ("db", 2)]);
    assert!(!core.states.contains_key("web"));
}

#[test]
fn a_reload_does_not_change_what_only_a_start_can() {
    let mut core = core(config([1, 2]));
    let (before, tables_before) = (core.config.clone(), tables(&core));
    let changes: [fn(&mut Node); 6] = [
        |node| node.interfaces.push("eth1".to_owned()),
        |node| node.xdp_mode = XdpMode::Native,
        |node| node.max_slots *= 2,
        |node| node.max_flows *= 2,
        |node| node.max_nat_flows *= 2,
        |node| node.max_fragments *= 2,
    ];
    for change in changes {
        let mut next = config([3]);
        change(&mut next.node);
        let text = "interfaces, xdp_mode, max_slots, max_flows, max_nat_flows and max_fragments of [node] take effect at \
                    start only: restart xlb to change them";
        assert_eq!(core.reload(next), Err(api::Error::Conflict(text.to_owned())));
        assert!(core.config == before && tables(&core) == tables_before);
    }
    let mut next = config([1, 2]);
    next.node.name = "lb2".to_owned();
    next.node.answer_neighbors = false;
    assert_eq!(core.reload(next), Ok(()));
}

/// A valid file may need more slots than are free while the tables before are still there.
fn refused(core: &mut Core<Memory>, next: Config) {
    let refusal = core.reload(next);
    assert!(matches!(&refusal, Err(api::Error::Conflict(why)) if why.contains("no room")), "{refusal:?}");
}

#[test]
fn a_refused_reload_leaves_configuration_and_tables() {
    let mut now = config(1..=10);
    now.node.max_slots = 2048;
    let mut core = core(now.clone());
    let before = tables(&core);
    refused(&mut core, Config { node: now.node.clone(), ..config(2..=12) });
    core.reconcile().unwrap();
    assert!(core.config == now && tables(&core) == before);
}

#[test]
fn a_refused_reload_forgets_no_drain() {
    let mut now = config(1..=10);
    now.node.max_slots = 2048;
    let mut core = core(now.clone());
    admin(&mut core, "web1", Admin::Drain).unwrap();
    refused(&mut core, Config { node: now.node, ..config(2..=12) });
    core.reconcile().unwrap();
    let first = &backends(&mut core)[0];
    assert_eq!((first.admin, first.slots), (Admin::Drain, 0));
}

#[tokio::test]
async fn a_refused_reload_forgets_no_health() {
    let mut now = checked(config(1..=10));
    now.node.max_slots = 2048;
    let mut core = core(now.clone());
    for number in 1..=10 {
        health(&mut core, &format!("web{number}"), Health::Up);
    }
    let before = tables(&core);
    refused(&mut core, Config { node: now.node, ..checked(config(2..=12)) });
    core.reconcile().unwrap();
    assert_eq!(backends(&mut core)[0].health, BackendHealth::Up);
    assert!(tables(&core) == before);
}

#[tokio::test]
async fn a_changed_check_keeps_the_health_until_it_knows_better() {
    let mut core = core(checked(config([1, 2])));
    health(&mut core, "web1", Health::Up);
    health(&mut core, "web2", Health::Up);
    let before = tables(&core);
    let mut next = checked(config([1, 2]));
    next.services[0].check.as_mut().unwrap().interval = Duration::from_secs(5);
    assert_eq!(core.reload(next), Ok(()));
    assert!(tables(&core) == before, "every packet of the service is dropped now");
}

#[test]
fn a_refused_drain_is_not_remembered() {
    let mut config = config([1, 2]);
    config.node.max_slots = 16;
    let mut core = idle(config);
    assert!(matches!(admin(&mut core, "web1", Admin::Drain), Err(api::Error::Conflict(_))));
    assert_eq!(backends(&mut core)[0].admin, Admin::Ready);
}

// ---------------------------------------------------------------- what is told

#[test]
fn a_lost_neighbor_is_told_and_takes_no_traffic() {
    let mut core = core(config([1, 2]));
    let before = currents(&core);
    let mut lost = snapshot(0..100);
    let why = Unresolved::NoNeighbor { next_hop: ip(254), interface: "eth0".to_owned() };
    lost.next_hops.insert(ip(1), Err(why));
    core.on_snapshot(lost);
    core.reconcile().unwrap();
    let [first, second] = &backends(&mut core)[..] else { panic!("two backends") };
    assert_eq!((first.neighbor, first.serving, first.slots), (Neighbor::Unresolved, false, 0));
    assert_eq!((first.next_hop.as_deref(), first.share), (None, 0.0));
    assert_eq!(first.detail, "no answer from neighbor 10.0.0.254 on eth0");
    assert_eq!((second.slots, second.share), (SMALL, 1.0));
    core.on_snapshot(snapshot(0..100));
    core.reconcile().unwrap();
    assert!(currents(&core) == before);
}

#[test]
fn a_report_adds_up() {
    let mut config = config([1, 2, 3]);
    config.services[0].backends[1].weight = 3;
    config.services[0].backends[2].weight = 0;
    config.services.push(service("db", 3306, [4]));
    let mut core = core(config);
    let told = backends(&mut core);
    let rows: Vec<_> =
        told.iter().map(|b| (b.service.as_str(), b.name.as_str(), b.weight, b.slots, b.serving)).collect();
    // 1021 by 1 : 3 is 255.25 and 765.75.
    let expected = [
        ("web", "web1", 1, 255, true),
        ("web", "web2", 3, 766, true),
        ("web", "web3", 0, 0, false),
        ("db", "web4", 1, SMALL, true),
    ];
    assert_eq!(rows, expected);
    assert_eq!(told[1].share, 766.0 / 1021.0);
    assert_eq!((told[0].address.as_str(), told[0].health), ("10.0.0.1", BackendHealth::Unchecked));
    assert_eq!((told[0].neighbor, told[0].detail.as_str()), (Neighbor::Resolved, ""));
    assert_eq!(told[0].next_hop.as_deref(), Some("02:00:00:00:00:01 via eth0"));

    let only = ask(&mut core, |reply| Request::Backends { service: Some("db".to_owned()), reply }).unwrap();
    assert_eq!(only.backends, told[3..]);

    let services = ask(&mut core, |reply| Request::Services { reply }).unwrap().services;
    let rows: Vec<_> = services
        .iter()
        .map(|s| (s.name.as_str(), s.address.as_str(), s.port, s.slots, s.backends, s.backends_serving))
        .collect();
    assert_eq!(rows, [("web", "192.0.2.10", 80, SMALL, 3, 2), ("db", "192.0.2.10", 3306, SMALL, 1, 1)]);

    let status = ask(&mut core, |reply| Request::Status { reply }).unwrap();
    assert_eq!((status.version, status.node.as_str()), (types::VERSION, "lb1"));
    assert_eq!((status.services, status.backends, status.backends_serving), (2, 4, 3));
    assert_eq!((status.slots_used, status.slots_max), (2042, 4096));
    let eth0 = types::Interface {
        name: "eth0".to_owned(),
        index: 7,
        mac: "02:00:00:00:00:aa".to_owned(),
        xdp: types::Xdp::Generic,
    };
    assert_eq!(status.interfaces, [eth0]);
    assert!(!status.reasons.is_empty() && status.reasons.iter().all(|reason| reason.packets == 0));
}

#[test]
fn frames_for_the_interface_are_for_the_node() {
    let core = core(config([1]));
    let control = core.dataplane.tables().node().unwrap().control;
    let mac = lb_common::abi::control::mac_word([2, 0, 0, 0], [0, 0xaa]);
    assert_eq!(control.macs.iter().filter(|word| **word == mac).count(), 1);
}

#[test]
fn a_probe_goes_to_the_port_that_the_backend_has() {
    let mut service = checked(config([1])).services.remove(0);
    service.mode = Mode::Nat;
    service.backends[0].port = 8080;
    let probed = |service: &Service| target(service, &service.backends[0]).map(|target| target.address);
    assert_eq!(probed(&service), Some(SocketAddr::new(ip(1), 8080)));
    service.check.as_mut().unwrap().port = Some(9090);
    assert_eq!(probed(&service), Some(SocketAddr::new(ip(1), 9090)));
}
