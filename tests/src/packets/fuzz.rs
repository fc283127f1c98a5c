//! Frames that nobody would send: known ones cut, stretched, and with bytes changed where it hurts.
//!
//! Numbers come from a seeded generator, so that a failure can be run again; which seed is printed with it.

use super::rows::rows;

/// SplitMix64: any seed is a good one.
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    fn byte(&mut self) -> u8 {
        // Ends and signs are where mistakes are.
        const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xfe, 0xff, 0x45, 0x60];
        match self.below(3) {
            0 => EDGES[self.below(EDGES.len())],
            _ => u8::try_from(self.next() & 0xff).expect("a byte"),
        }
    }
}

/// An endless supply of frames of at least 14 bytes, made from known ones.
pub struct Frames {
    random: Random,
    seeds: Vec<Vec<u8>>,
}

impl Frames {
    /// The sequence of a seed, made from the frames of the golden rows.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::made_from(rows().into_iter().map(|row| row.frame).collect(), seed)
    }

    /// The sequence of a seed, made from `seeds`.
    #[must_use]
    pub const fn made_from(seeds: Vec<Vec<u8>>, seed: u64) -> Self {
        Self { random: Random::new(seed), seeds }
    }

    /// The next frame.
    pub fn next_frame(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        let mut frame = self.seeds[random.below(self.seeds.len())].clone();
        for _ in 0..random.below(5) {
            // Headers are in the first bytes; the MACs in front are left alone but for a while, or nothing gets far.
            let reach = frame.len().min(100);
            let at = if random.below(20) == 0 { random.below(reach) } else { 12 + random.below(reach - 12) };
            frame[at] = random.byte();
        }
        match random.below(6) {
            0 => frame.truncate(14 + random.below(frame.len() - 13)),
            1 => frame.extend(vec![0; random.below(64)]),
            2 => {
                // Bytes that go missing shift everything behind them.
                let at = 14 + random.below(frame.len() - 13);
                let gone = random.below(frame.len() - at + 1);
                frame.drain(at..at + gone);
            }
            _ => {}
        }
        frame
    }
}
