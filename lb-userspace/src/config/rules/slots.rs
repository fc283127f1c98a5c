//! Sizes of Maglev tables.

use lb_common::maglev;

/// The smallest prime a Maglev table may have.
pub(in crate::config) const MIN_SLOTS: u32 = 251;
/// The largest: the last prime below 2^20.
pub(in crate::config) const MAX_SLOTS: u32 = 1_048_573;
/// Most slots a node may have; at 4 bytes each 256 MiB.
pub(in crate::config) const MAX_NODE_SLOTS: u32 = 1 << 26;

pub(in crate::config) fn slots(typed: i64) -> Result<u32, String> {
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

pub(in crate::config) fn node_slots(typed: i64) -> Result<u32, String> {
    match u32::try_from(typed) {
        Ok(slots) if (MIN_SLOTS..=MAX_NODE_SLOTS).contains(&slots) => Ok(slots),
        Ok(_) | Err(_) => {
            Err(format!("max_slots {typed} is out of range: choose {MIN_SLOTS} to {MAX_NODE_SLOTS}"))
        }
    }
}

/// A table has at least as many slots as backends that want one.
pub(in crate::config) fn slots_for(slots: u32, weighted: usize) -> Result<(), String> {
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
}
