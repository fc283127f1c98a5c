//! Asks the kernel how to reach addresses: links, then a route for each address, then the neighbor of each next hop.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what netlink can say grows with the kernel, and all but a few attributes are of no interest here"
)]

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use rtnetlink::{Error, Handle};

use super::{NextHop, Resolution, Snapshot, Unresolved};

/// What is known of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address; `None` for one that has none of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Its MTU, in bytes.
    pub mtu_bytes: u32,
}

/// Interfaces by index.
pub type Interfaces = HashMap<u32, Interface>;

/// A neighbor: interface index and address.
pub(super) type Neighbor = (u32, IpAddr);

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    neighbor: Neighbor,
    source: IpAddr,
    mtu_bytes: Option<u32>,
}

/// Resolves all addresses once, and tells which neighbors that took.
pub(super) async fn resolve(
    handle: &Handle,
    addresses: &BTreeSet<IpAddr>,
) -> Result<(Snapshot, BTreeSet<Neighbor>), Error> {
    let interfaces = interfaces(handle).await?;
    let macs = neighbor_macs(handle).await?;
    let mut neighbors = BTreeSet::new();
    let mut next_hops = HashMap::new();
    for address in addresses {
        let route = route(handle, *address).await?;
        if let Ok(route) = &route {
            neighbors.insert(route.neighbor);
        }
        next_hops.insert(*address, route.and_then(|route| next_hop(*address, &route, &interfaces, &macs)));
    }
    Ok((Snapshot { next_hops, interfaces }, neighbors))
}

fn next_hop(
    destination: IpAddr,
    route: &Route,
    interfaces: &Interfaces,
    macs: &HashMap<Neighbor, [u8; 6]>,
) -> Resolution {
    let (index, address) = route.neighbor;
    let interface = interfaces.get(&index);
    let name = interface.map_or_else(|| format!("with index {index}"), |interface| interface.name.clone());
    let Some((interface, source_mac)) = interface.and_then(|interface| Some((interface, interface.mac?)))
    else {
        return Err(Unresolved::NotEthernet { interface: name });
    };
    let Some(mac) = macs.get(&route.neighbor) else {
        return Err(Unresolved::NoNeighbor { next_hop: address, interface: name });
    };
    Ok(NextHop {
        interface: name,
        interface_index: index,
        gateway: (address != destination).then_some(address),
        mac: *mac,
        source_mac,
        source_address: route.source,
        mtu_bytes: route.mtu_bytes.map_or(interface.mtu_bytes, |mtu| mtu.min(interface.mtu_bytes)),
    })
}

async fn interfaces(handle: &Handle) -> Result<Interfaces, Error> {
    let links: Vec<_> = handle.link().get().execute().try_collect().await?;
    let read = |link: rtnetlink::packet_route::link::LinkMessage| {
        let mut interface = Interface { name: String::new(), mac: None, mtu_bytes: 0 };
        for attribute in link.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name = name,
                // An address of zeros is the loopback's.
                LinkAttribute::Address(bytes) => {
                    interface.mac = bytes.try_into().ok().filter(|mac| *mac != [0; 6]);
                }
                LinkAttribute::Mtu(mtu) => interface.mtu_bytes = mtu,
                _ => {}
            }
        }
        (link.header.index, interface)
    };
    Ok(links.into_iter().map(read).collect())
}

/// MAC addresses of all neighbors that the kernel would send to now.
async fn neighbor_macs(handle: &Handle) -> Result<HashMap<Neighbor, [u8; 6]>, Error> {
    let neighbors: Vec<_> = handle.neighbours().get().execute().try_collect().await?;
    Ok(neighbors.into_iter().filter_map(read_neighbor).collect())
}

fn read_neighbor(message: NeighbourMessage) -> Option<(Neighbor, [u8; 6])> {
    let valid = match message.header.state {
        NeighbourState::Reachable
        | NeighbourState::Stale
        | NeighbourState::Delay
        | NeighbourState::Probe
        | NeighbourState::Permanent => true,
        NeighbourState::Incomplete
        | NeighbourState::Failed
        | NeighbourState::Noarp
        | NeighbourState::None => false,
        // Several bits at once, which the kernel never tells.
        NeighbourState::Other(_) | _ => false,
    };
    let mut address = None;
    let mut mac = None;
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.try_into().ok(),
            _ => {}
        }
    }
    valid.then_some(((message.header.ifindex, address?), mac?))
}

/// The route to an address: the kernel's choice, rules and all (`ip route get`).
async fn route(handle: &Handle, address: IpAddr) -> Result<Result<Route, Unresolved>, Error> {
    let mut request = RouteMessage::default();
    let (family, bits, destination) = match address {
        IpAddr::V4(v4) => (AddressFamily::Inet, 32, RouteAddress::Inet(v4)),
        IpAddr::V6(v6) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(v6)),
    };
    request.header.address_family = family;
    request.header.destination_prefix_length = bits;
    request.attributes.push(RouteAttribute::Destination(destination));
    match handle.route().get(request).execute().try_next().await {
        Ok(Some(answer)) => Ok(read_route(address, answer)),
        // Unreachable, prohibited, blackholed: the kernel answers with the error a packet would get.
        Ok(None) | Err(Error::NetlinkError(_)) => Ok(Err(Unresolved::NoRoute)),
        Err(error) => Err(error),
    }
}

fn read_route(address: IpAddr, answer: RouteMessage) -> Result<Route, Unresolved> {
    match answer.header.kind {
        RouteType::Unicast => {}
        RouteType::Local => return Err(Unresolved::Local),
        _ => return Err(Unresolved::NoRoute),
    }
    let mut interface = None;
    let mut next_hop = address;
    let mut source = None;
    let mut mtu_bytes = None;
    for attribute in answer.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(index),
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => next_hop = IpAddr::V4(v4),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => next_hop = IpAddr::V6(v6),
            // An IPv4 route over an IPv6 next hop, or the other way round (RFC 8950).
            RouteAttribute::Via(RouteVia::Inet(v4)) => next_hop = IpAddr::V4(v4),
            RouteAttribute::Via(RouteVia::Inet6(v6)) => next_hop = IpAddr::V6(v6),
            RouteAttribute::PrefSource(RouteAddress::Inet(v4)) => source = Some(IpAddr::V4(v4)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(v6)) => source = Some(IpAddr::V6(v6)),
            RouteAttribute::Metrics(metrics) => {
                mtu_bytes = metrics.into_iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    match (interface, source) {
        (Some(interface), Some(source)) => Ok(Route { neighbor: (interface, next_hop), source, mtu_bytes }),
        _ => Err(Unresolved::NoRoute),
    }
}

/// Asks the kernel to keep a neighbor resolved (`NTF_EXT_MANAGED`), or to use it once and forget it in time (`NTF_USE`); with
/// either flag an entry keeps its state (net/core/neighbour.c, `__neigh_update`).
pub(super) async fn manage(handle: &Handle, neighbor: Neighbor, managed: bool) -> Result<(), Error> {
    let (interface, address) = neighbor;
    let mut request = handle.neighbours().add(interface, address).state(NeighbourState::None).replace();
    if managed {
        let flags = NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed);
        request.message_mut().attributes.push(flags);
    } else {
        request = request.flags(NeighbourFlags::Use);
    }
    request.execute().await
}
