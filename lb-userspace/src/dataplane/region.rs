//! Memory that holds a table: mapped from a BPF map, or allocated for a test.
//!
//! The kernel reads a mapped table while it is written. So every write goes word by word, each word one atomic store:
//! what fits in an aligned word is never seen half written. There is one writer, the owner of the region.

#![expect(unsafe_code, reason = "maps kernel memory, and turns it into table entries")]

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::{AnyBitPattern, NoUninit, Zeroable};
use memmap2::{MmapOptions, MmapRaw};

/// A table of `T`s.
pub(super) struct Region<T> {
    memory: MmapRaw,
    len: usize,
    entries: PhantomData<T>,
}

impl<T: AnyBitPattern + NoUninit + Zeroable> Region<T> {
    const WORDS: usize = {
        assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() >= 8 && align_of::<T>() <= 4096);
        size_of::<T>() / 8
    };

    /// Maps `len` entries of a BPF array that was made with `BPF_F_MMAPABLE`.
    pub(super) fn map(fd: impl AsFd, len: usize) -> io::Result<Self> {
        use std::os::fd::AsRawFd;
        let memory = MmapOptions::new().len(Self::bytes(len)).map_raw(fd.as_fd().as_raw_fd())?;
        Ok(Self { memory, len, entries: PhantomData })
    }

    /// Memory of its own, zeroed.
    pub(super) fn anonymous(len: usize) -> io::Result<Self> {
        let memory = MmapOptions::new().len(Self::bytes(len)).map_anon()?.into();
        Ok(Self { memory, len, entries: PhantomData })
    }

    fn bytes(len: usize) -> usize {
        len * size_of::<T>()
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// An entry as it stands.
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        // SAFETY: the entry lies inside the mapping (checked), which lives as long as `self` and starts at a page, and any
        // bytes are a `T`. The kernel only reads; writes go through `&mut self`.
        (index < self.len).then(|| unsafe { &*self.memory.as_ptr().cast::<T>().add(index) })
    }

    /// Replaces an entry, word by word in order of address.
    ///
    /// # Panics
    /// When there is no such entry: ids and ranges come from allocators that know the size.
    pub(super) fn write(&mut self, index: usize, value: &T) {
        self.write_words(index, 0, bytemuck::bytes_of(value));
    }

    /// Replaces the words from `offset_bytes` of an entry on, as many as `bytes` fills. Words that stay are not stored again:
    /// the cache lines of a large table stay where packets read them.
    ///
    /// # Panics
    /// When the words are not whole or not inside the entry.
    pub(super) fn write_words(&mut self, index: usize, offset_bytes: usize, bytes: &[u8]) {
        assert!(index < self.len, "entry {index} of {}", self.len);
        assert!(offset_bytes.is_multiple_of(8) && bytes.len().is_multiple_of(8));
        let first = offset_bytes / 8;
        assert!(first + bytes.len() / 8 <= Self::WORDS);
        for (word, chunk) in (index * Self::WORDS + first..).zip(bytes.chunks_exact(8)) {
            let mut value = [0; 8];
            value.copy_from_slice(chunk);
            let (word, value) = (self.word(word), u64::from_ne_bytes(value));
            if word.load(Ordering::Relaxed) != value {
                word.store(value, Ordering::Release);
            }
        }
    }

    /// Replaces one word of an entry, if it is still `old`; packets do the same meanwhile.
    pub(super) fn swap_word(&self, index: usize, word: usize, old: u64, new: u64) -> bool {
        if index >= self.len || word >= Self::WORDS {
            return false;
        }
        let word = self.word(index * Self::WORDS + word);
        word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        // SAFETY: callers stay inside the mapping (they check it); pages are aligned for a word, and an atomic
        // has the layout of its integer.
        unsafe { &*self.memory.as_mut_ptr().cast::<AtomicU64>().add(index) }
    }
}
