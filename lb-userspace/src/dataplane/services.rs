//! Builds a service table: two-choice cuckoo hashing, at most three eighths full.
//!
//! Pagh and Rodler, "Cuckoo hashing" (2004): an entry that finds both its places taken moves one of the two owners to its
//! other place. Another seed is tried when one does not fit.

use std::collections::HashSet;

use bytemuck::Zeroable;
use bytemuck::allocation::zeroed_box;
use lb_common::abi::service::{
    Endpoint, MAX_SERVICES_AND_VIPS, ServiceEntry, ServiceTable, Vip, places as places_of,
};
use lb_common::hash::mix;

/// A service as the table holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its address.
    pub vip: Vip,
    /// Its port and protocol.
    pub endpoint: Endpoint,
    /// First slot.
    pub slots_base: u32,
    /// Number of slots.
    pub slots_len: u32,
}

/// Why there is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// There are more services and VIPs than the table may hold.
    #[error("{needed} services and VIPs are more than the {max} that fit: spread them over more nodes")]
    Full {
        /// Services and VIPs.
        needed: usize,
        /// How many fit.
        max: usize,
    },
    /// No seed separates them. One fits nearly always, so this is a defect in the hash.
    #[error(
        "{0} services and VIPs do not fit into a table under any of {MAX_SEEDS} seeds: please report this with the configuration"
    )]
    NoSeed(usize),
}

/// Seeds that are tried.
const MAX_SEEDS: u64 = 64;
/// Moves after which a seed is given up; a handful is the rule.
const MAX_MOVES: usize = 256;

/// Builds the table for these services.
///
/// # Errors
/// When there are too many; addresses and endpoints are unique.
pub fn build(services: &[Entry]) -> Result<Box<ServiceTable>, TableError> {
    let mut vips: Vec<Vip> = services.iter().map(|service| service.vip).collect();
    let mut seen = HashSet::new();
    vips.retain(|vip| seen.insert(*vip));
    let entries: Vec<ServiceEntry> = services
        .iter()
        .map(|service| {
            let mut entry = ServiceEntry::new(service.vip, service.endpoint);
            entry.slots_base = service.slots_base;
            entry.slots_len = service.slots_len;
            entry
        })
        .chain(vips.iter().map(|vip| ServiceEntry::new(*vip, Endpoint::VIP)))
        .collect();
    if entries.len() > MAX_SERVICES_AND_VIPS {
        return Err(TableError::Full { needed: entries.len(), max: MAX_SERVICES_AND_VIPS });
    }
    let mut table: Box<ServiceTable> = zeroed_box();
    let fits = |seed| {
        table.seed = seed;
        table.entries.fill(ServiceEntry::zeroed());
        entries.iter().all(|entry| insert(&mut table, *entry))
    };
    if !(1..=MAX_SEEDS).map(|number| mix(number) | 1).any(fits) {
        return Err(TableError::NoSeed(entries.len()));
    }
    for vip in vips {
        table.admit_vip(vip);
    }
    Ok(table)
}

/// Puts an entry in, moving others; `false` when it does not fit under this seed.
fn insert(table: &mut ServiceTable, entry: ServiceEntry) -> bool {
    let mut homeless = entry;
    let mut turned_away_from = None;
    for _ in 0..MAX_MOVES {
        let (first, second) = places(table, &homeless);
        for place in [first, second] {
            if table.entries[place].is_vacant() {
                table.entries[place] = homeless;
                return true;
            }
        }
        let place = if turned_away_from == Some(first) { second } else { first };
        std::mem::swap(&mut table.entries[place], &mut homeless);
        turned_away_from = Some(place);
    }
    false
}

fn places(table: &ServiceTable, entry: &ServiceEntry) -> (usize, usize) {
    let (vip, endpoint) = entry.key();
    places_of(table.seed, vip, endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> Vip {
        Vip::v4((0xc000_0000 | n).to_be_bytes())
    }

    /// Addresses that differ in their last bytes, or in the middle.
    fn v6(n: u32) -> Vip {
        let mut bytes = [0x20; 16];
        let at = if n.is_multiple_of(2) { 12 } else { 4 };
        bytes[at..at + 4].copy_from_slice(&n.to_be_bytes());
        Vip::v6(&bytes)
    }

    fn services(vip: fn(u32) -> Vip, count: u32, ports: u16) -> Vec<Entry> {
        (0..count)
            .flat_map(|n| {
                (1..=ports).map(move |port| Entry {
                    vip: vip(n),
                    endpoint: Endpoint::new(port, 6),
                    slots_base: n * 1000,
                    slots_len: u32::from(port),
                })
            })
            .collect()
    }

    #[test]
    fn every_service_is_found_and_no_other() {
        let shapes = [
            (0, 0),
            (1, 1),
            (3, 40),
            (100, 1),
            (120, 1),
            (250, 1),
            (500, 2),
            (1000, 1),
            (3072, 1),
            (1, 6143),
        ];
        for (vips, ports, vip) in shapes
            .into_iter()
            .flat_map(|(vips, ports)| [(vips, ports, v4 as fn(u32) -> Vip), (vips, ports, v6)])
        {
            let services = services(vip, vips, ports);
            let table = build(&services).unwrap();
            for service in &services {
                assert!(table.may_be_vip(service.vip));
                let entry = table.find(service.vip, service.endpoint).unwrap();
                assert_eq!((entry.slots_base, entry.slots_len), (service.slots_base, service.slots_len));
                assert!(table.find(service.vip, Endpoint::VIP).is_some());
                assert!(table.find(service.vip, Endpoint::new(9999, 6)).is_none());
                assert!(table.find(service.vip, Endpoint::new(1, 17)).is_none());
            }
        }
    }

    #[test]
    fn the_filter_keeps_most_strangers_out() {
        let table = build(&services(v4, 1000, 1)).unwrap();
        let strangers = (0..10_000u32)
            .map(|n| Vip::v4((0x0a00_0000 | n).to_be_bytes()))
            .filter(|vip| table.may_be_vip(*vip))
            .count();
        assert!(strangers <= 1000, "{strangers} of 10000 addresses pass the filter");
        let mut bytes = [0x20; 16];
        bytes[15] = 1;
        let vip = Vip::v6(&bytes);
        assert!(table.find(vip, Endpoint::VIP).is_none());
    }

    #[test]
    fn too_many_are_refused() {
        let error = build(&services(v4, 3073, 1)).err().map(|error| error.to_string());
        let text = "6146 services and VIPs are more than the 6144 that fit: spread them over more nodes";
        assert_eq!(error.as_deref(), Some(text));
    }
}
