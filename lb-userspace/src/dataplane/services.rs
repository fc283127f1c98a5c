//! Builds a service table: two-choice cuckoo hashing, at most three eighths full.
//!
//! Pagh and Rodler, "Cuckoo hashing" (2004): an entry that finds both its places taken moves one of the two owners to its
//! other place. Another seed is tried when one does not fit.

use bytemuck::Zeroable;
use bytemuck::allocation::zeroed_box;
use lb_common::abi::service::{MAX_SERVICES_AND_VIPS, ServiceEntry, ServiceTable, places as places_of};
use lb_common::hash::mix;

/// An entry, and what the filter says about its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the table holds.
    pub entry: ServiceEntry,
    /// Bits of [`filter`](lb_common::abi::service::filter).
    pub filter: u8,
}

/// Why there is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// There are more services, VIPs, nat backends and source addresses than the table may hold.
    #[error(
        "{needed} services, VIPs, nat backends and source addresses are more than the {max} that fit: spread them over more nodes"
    )]
    Full {
        /// All of them.
        needed: usize,
        /// How many fit.
        max: usize,
    },
    /// No seed separates them. One fits nearly always, so this is a defect in the hash.
    #[error(
        "{0} services, VIPs, nat backends and source addresses do not fit into a table under any of {MAX_SEEDS} seeds: please report this with the configuration"
    )]
    NoSeed(usize),
}

/// Seeds that are tried.
const MAX_SEEDS: u64 = 64;
/// Moves after which a seed is given up; a handful is the rule.
const MAX_MOVES: usize = 256;

/// Builds the table of these entries.
///
/// # Errors
/// When there are too many; addresses and endpoints are unique.
pub fn build(entries: &[Entry]) -> Result<Box<ServiceTable>, TableError> {
    if entries.len() > MAX_SERVICES_AND_VIPS {
        return Err(TableError::Full { needed: entries.len(), max: MAX_SERVICES_AND_VIPS });
    }
    let mut table: Box<ServiceTable> = zeroed_box();
    let fits = |seed| {
        table.seed = seed;
        table.entries.fill(ServiceEntry::zeroed());
        entries.iter().all(|one| insert(&mut table, one.entry))
    };
    if !(1..=MAX_SEEDS).map(|number| mix(number) | 1).any(fits) {
        return Err(TableError::NoSeed(entries.len()));
    }
    for one in entries {
        table.admit(one.entry.key().0, one.filter);
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
    let (address, endpoint) = entry.key();
    places_of(table.seed, address, endpoint)
}

#[cfg(test)]
mod tests {
    use lb_common::abi::service::{Address, Endpoint, filter};

    use super::*;

    fn v4(n: u32) -> Address {
        Address::v4((0xc000_0000 | n).to_be_bytes())
    }

    /// Addresses that differ in their last bytes, or in the middle.
    fn v6(n: u32) -> Address {
        let mut bytes = [0x20; 16];
        let at = if n.is_multiple_of(2) { 12 } else { 4 };
        bytes[at..at + 4].copy_from_slice(&n.to_be_bytes());
        Address::v6(&bytes)
    }

    fn services(vip: fn(u32) -> Address, count: u32, ports: u16) -> Vec<Entry> {
        let of_vip = |n| {
            (0..=ports).map(move |port| {
                let endpoint = if port == 0 { Endpoint::VIP } else { Endpoint::new(port, 6) };
                let mut entry = ServiceEntry::new(vip(n), endpoint);
                (entry.slots_base, entry.slots_len) = (n * 1000, u32::from(port));
                Entry { entry, filter: filter::VIP }
            })
        };
        (0..count).flat_map(of_vip).collect()
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
            .flat_map(|(vips, ports)| [(vips, ports, v4 as fn(u32) -> Address), (vips, ports, v6)])
        {
            let services = services(vip, vips, ports);
            let table = build(&services).unwrap();
            for service in &services {
                let (address, endpoint) = service.entry.key();
                assert_eq!(table.may_be(address) & filter::VIP, filter::VIP);
                assert_eq!(table.find(address, endpoint), Some(&service.entry));
                assert!(table.find(address, Endpoint::new(9999, 6)).is_none());
                assert!(table.find(address, Endpoint::new(1, 17)).is_none());
                assert!(table.find(address.as_source(), endpoint).is_none());
            }
        }
    }

    #[test]
    fn the_same_address_is_found_as_source_and_as_destination() {
        let source = Entry {
            entry: ServiceEntry::new(v4(7).as_source(), Endpoint::new(80, 6)),
            filter: filter::BACKEND,
        };
        let table = build(&[services(v4, 1, 1), vec![source]].concat()).unwrap();
        assert_eq!(table.find(v4(7).as_source(), Endpoint::new(80, 6)), Some(&source.entry));
        assert!(table.find(v4(7), Endpoint::new(80, 6)).is_none());
        assert_eq!(table.may_be(v4(7)), filter::BACKEND);
    }

    #[test]
    fn the_filter_keeps_most_strangers_out() {
        let table = build(&services(v4, 1000, 1)).unwrap();
        let strangers = (0..10_000u32)
            .map(|n| Address::v4((0x0a00_0000 | n).to_be_bytes()))
            .filter(|address| table.may_be(*address) != 0)
            .count();
        assert!(strangers <= 1000, "{strangers} of 10000 addresses pass the filter");
        let mut bytes = [0x20; 16];
        bytes[15] = 1;
        assert!(table.find(Address::v6(&bytes), Endpoint::VIP).is_none());
    }

    #[test]
    fn too_many_are_refused() {
        let error = build(&services(v4, 3073, 1)).err().map(|error| error.to_string());
        let text = "6146 services, VIPs, nat backends and source addresses are more than the 6144 that fit: spread them \
                    over more nodes";
        assert_eq!(error.as_deref(), Some(text));
    }
}
