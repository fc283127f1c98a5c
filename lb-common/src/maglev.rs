//! Maglev tables: which backend each slot of a service belongs to.
//!
//! Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), section 3.4, with weights.
//! Every backend has its own permutation of the slots and takes the next free one of it at each of its turns. Here the
//! number of slots of a backend is fixed beforehand, by largest remainder and at least one for every backend with a
//! weight, and turns come in proportion to it: shares are as exact as whole slots allow, and a change of weight moves
//! little more than it must.
//!
//! The result depends on identities and weights alone, not on the order of the list, so that two nodes agree. There is no
//! allocation: the caller lends the working space.

use core::cmp::Reverse;

use crate::hash::mix;

/// A backend as the table sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What stays the same for a backend through restarts and on every node; see [`identity`].
    pub identity: u64,
    /// Share relative to the others; 0 gets no slot.
    pub weight: u32,
}

/// Working space for one candidate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    index: u16,
    identity: u64,
    weight: u32,
    quota: u32,
    remainder: u64,
    taken: u32,
    credit: u64,
    position: u32,
    skip: u32,
}

/// Why no table could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The number of slots is not a prime: a permutation would leave slots out.
    NotPrime,
    /// Fewer slots than backends with a weight.
    TooFewSlots,
    /// The working space is shorter than the list of candidates.
    WorkTooShort,
}

/// A slot of [`fill`]'s result that nobody has, because no candidate has a weight.
pub const NOBODY: u16 = u16::MAX;

/// The identity of a backend: a hash of its address (16 bytes, IPv4 mapped).
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "masked to 64 bits")]
pub const fn identity(address: [u8; 16]) -> u64 {
    let whole = u128::from_be_bytes(address);
    mix(mix((whole >> 64) as u64) ^ (whole & u64::MAX as u128) as u64)
}

/// Fills `table` with indices into `candidates` (at most 65,535 of them), or with [`NOBODY`] where no weight is above 0.
///
/// `table.len()` is a prime below 2^32, `work` at least as long as `candidates`. About `n log n` steps for `n` slots.
///
/// # Errors
/// See [`Error`]; the table is unchanged then.
pub fn fill(table: &mut [u16], candidates: &[Candidate], work: &mut [Work]) -> Result<(), Error> {
    let slots = u32::try_from(table.len()).map_err(|_| Error::NotPrime)?;
    if !is_prime(slots) {
        return Err(Error::NotPrime);
    }
    let work = work.get_mut(..candidates.len()).ok_or(Error::WorkTooShort)?;
    let work = select(candidates, work);
    if work.len() > table.len() {
        return Err(Error::TooFewSlots);
    }
    table.fill(NOBODY);
    let Some(largest) = share_out(slots, work) else { return Ok(()) };
    for turn in work.iter_mut() {
        turn.position = reduce(mix(turn.identity ^ 0x6d61_676c_6576_2d31), slots);
        turn.skip = 1 + reduce(mix(turn.identity ^ 0x6d61_676c_6576_2d32), slots - 1);
    }
    let mut free = slots;
    while free > 0 {
        for turn in work.iter_mut() {
            turn.credit += u64::from(turn.quota);
            while turn.credit >= u64::from(largest) && turn.taken < turn.quota {
                turn.credit -= u64::from(largest);
                turn.taken += 1;
                free -= 1;
                take_next_free(table, turn, slots);
            }
        }
    }
    Ok(())
}

/// Gives the candidate the first free slot of its permutation. There is one: quotas add up to the number of slots.
fn take_next_free(table: &mut [u16], turn: &mut Work, slots: u32) {
    loop {
        let slot = &mut table[turn.position as usize];
        // Position plus skip, modulo slots; both are below `slots`, and their sum may need 33 bits.
        let end = slots - turn.skip;
        turn.position = if turn.position >= end { turn.position - end } else { turn.position + turn.skip };
        if *slot == NOBODY {
            *slot = turn.index;
            return;
        }
    }
}

/// Copies the candidates with a weight into the working space, ordered by identity.
fn select<'w>(candidates: &[Candidate], work: &'w mut [Work]) -> &'w mut [Work] {
    let mut used = 0;
    for (index, candidate) in (0..NOBODY).zip(candidates).filter(|(_, c)| c.weight > 0) {
        work[used] =
            Work { index, identity: candidate.identity, weight: candidate.weight, ..Work::default() };
        used += 1;
    }
    let work = &mut work[..used];
    work.sort_unstable_by_key(|turn| turn.identity);
    work
}

/// Sets every quota and returns the largest; `None` without candidates.
///
/// Largest remainder (Hamilton): everybody gets the whole part of the exact share, at least 1; the rest goes to the largest
/// remainders. What the guaranteed single slots take too much comes from the largest quotas.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a weight is at most the sum of the weights, so a share is at most all slots"
)]
fn share_out(slots: u32, work: &mut [Work]) -> Option<u32> {
    let weights: u64 = work.iter().map(|turn| u64::from(turn.weight)).sum();
    if weights == 0 {
        return None;
    }
    let mut given = 0;
    for turn in work.iter_mut() {
        let exact = u64::from(slots) * u64::from(turn.weight);
        let whole = (exact / weights) as u32;
        turn.quota = whole.max(1);
        turn.remainder = if whole == 0 { 0 } else { exact % weights };
        given += u64::from(turn.quota);
    }
    let slots = u64::from(slots);
    if given < slots {
        work.sort_unstable_by_key(|turn| (Reverse(turn.remainder), turn.identity));
        // The remainders of n shares add up to fewer than n slots: one round is enough.
        for (turn, _) in work.iter_mut().zip(given..slots) {
            turn.quota += 1;
        }
    }
    while given > slots {
        let richest = work.iter_mut().max_by_key(|turn| (turn.quota, turn.identity))?;
        richest.quota -= 1;
        given -= 1;
    }
    work.sort_unstable_by_key(|turn| turn.identity);
    work.iter().map(|turn| turn.quota).max()
}

/// Scales a hash to `0..range`.
const fn reduce(hash: u64, range: u32) -> u32 {
    (((hash >> 32) * range as u64) >> 32) as u32
}

/// Whether `number` is a prime, by trial division: table sizes are small.
#[must_use]
pub const fn is_prime(number: u32) -> bool {
    if number < 4 {
        return number > 1;
    }
    if number.is_multiple_of(2) {
        return false;
    }
    let mut divisor = 3;
    while divisor as u64 * divisor as u64 <= number as u64 {
        if number.is_multiple_of(divisor) {
            return false;
        }
        divisor += 2;
    }
    true
}

/// The smallest prime that is not below `number`; `None` past the largest 32-bit prime.
#[must_use]
pub fn next_prime(number: u32) -> Option<u32> {
    (number..=u32::MAX).find(|candidate| is_prime(*candidate))
}

/// Table sizes that a service grows through, each about twice the one before: a larger table moves flows, so a service
/// that gets another backend should seldom need one.
const SIZES: [u32; 11] =
    [1021, 2039, 4093, 8191, 16_381, 32_749, 65_537, 131_071, 262_139, 524_287, 1_048_573];

/// Slots for a backend at least, where [`table_size`] chooses: shares are then within about 1 % of the weights.
pub const SLOTS_PER_BACKEND: u32 = 100;

/// The number of slots for a service with `backends` backends: a prime, at least 100 for each backend up to 10,485 of
/// them, then the largest size there is.
#[must_use]
pub fn table_size(backends: u32) -> u32 {
    let wanted = backends.saturating_mul(SLOTS_PER_BACKEND);
    SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(SIZES[SIZES.len() - 1])
}

#[cfg(test)]
mod tests;
