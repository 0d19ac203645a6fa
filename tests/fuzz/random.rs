//! Numbers that are the same for the same seed.

/// xorshift64* (Vigna 2016).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        let mut random = Random(seed ^ 0x9e37_79b9_7f4a_7c15 | 1);
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 up to the end, without it. The end of nothing is 0.
    pub fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 32) as usize).checked_rem(end).unwrap_or(0)
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// A part of something, often short, with at least one item of what is not empty.
    pub fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        if length == 0 {
            return 0..0;
        }
        let limit = if self.one_in(4) { length } else { length.min(16) };
        let size = 1 + self.below(limit);
        let start = self.below(length - size + 1);
        start..start + size
    }

    /// A number that something may stumble over.
    pub fn number(&mut self) -> u64 {
        const SPECIAL: [u64; 20] = [
            0,
            1,
            2,
            7,
            8,
            255,
            256,
            511,
            512,
            513,
            0o7777777,
            65_535,
            65_536,
            1 << 31,
            u32::MAX as u64 - 1,
            u32::MAX as u64,
            1 << 33,
            i64::MAX as u64,
            1 << 63,
            u64::MAX,
        ];
        let number = SPECIAL[self.below(SPECIAL.len())];
        match self.below(4) {
            0 => number.wrapping_add(1),
            1 => number.wrapping_sub(1),
            2 => self.next() >> self.below(64),
            _ => number,
        }
    }
}
