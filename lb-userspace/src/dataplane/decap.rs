//! The program of the receiving side in the kernel: loads its object, fills its maps, attaches it.

use std::io;
use std::net::IpAddr;

use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray};
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::control::{MAX_MACS, NO_MAC, mac_word};
use lb_common::abi::counters::Counter;
use lb_common::abi::decap::{self, DECAPSULATED, SourceKey, VipKey, family, map, words};
use lb_common::decap::{DropReason, PassReason};

use super::kernel::{self, Attached, Error, TestRunResult};
use super::pod::Shared;
use crate::desired::wire;
use crate::model::{Prefix, XdpMode};

/// The BPF object that belongs to this build.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(env!("XLB_DECAP_OBJECT"));
/// Name of the program in it.
pub const PROGRAM: &str = "xlb_decap";

/// Which packets lose their outer header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// MAC addresses that they are sent to, those of the interfaces; at most [`MAX_MACS`].
    pub macs: Vec<[u8; 6]>,
    /// Where the outer header comes from.
    pub sources: Vec<Prefix>,
    /// Where the inner packet goes to.
    pub vips: Vec<IpAddr>,
    /// Destination port of GUE.
    pub gue_port: u16,
}

impl Rules {
    /// What the program reads first.
    #[must_use]
    pub fn config(&self) -> decap::Config {
        let mut macs = [NO_MAC; MAX_MACS];
        for (word, [a, b, c, d, e, f]) in macs.iter_mut().zip(self.macs.iter().copied()) {
            *word = mac_word([a, b, c, d], [e, f]);
        }
        decap::Config { macs, gue_port: self.gue_port.to_be_bytes(), reserved: [0; 6] }
    }
}

/// The loaded program.
pub struct Decap {
    ebpf: Ebpf,
    counters: PerCpuArray<MapData, Shared<Counter>>,
}

impl Decap {
    /// Loads this build's object and fills its maps.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(rules: &Rules) -> Result<Self, Error> {
        kernel::require_kernel()?;
        let mut ebpf = EbpfLoader::new()
            .map_max_entries(map::SOURCES, entries(rules.sources.len()))
            .map_max_entries(map::VIPS, entries(rules.vips.len()))
            .load(OBJECT)?;
        kernel::xdp(&mut ebpf, PROGRAM)?.load().map_err(kernel::load_error)?;
        fill(&mut ebpf, rules)?;
        Ok(Self { counters: kernel::take(&mut ebpf, map::COUNTERS)?, ebpf })
    }

    /// Attaches the program to an interface of the current network namespace, until `self` is dropped or [detached](Self::detach).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn attach(&mut self, interface: &str, mode: XdpMode) -> Result<Attached, Error> {
        let (_link, attached) = kernel::attach(kernel::xdp(&mut self.ebpf, PROGRAM)?, interface, mode)?;
        Ok(attached)
    }

    /// Takes the program off every interface; what it has counted can be read from then on without more coming.
    #[must_use]
    pub fn detach(self) -> Counters {
        Counters(self.counters)
    }

    /// Runs the program on a frame, as [`Kernel::test_run`](kernel::Kernel::test_run) does.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn test_run(&mut self, frame: &[u8]) -> Result<TestRunResult, Error> {
        kernel::test_run(kernel::xdp(&mut self.ebpf, PROGRAM)?, frame, None, 1)
    }

    /// Instructions of the program, and those that the verifier walked through.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn size(&mut self) -> Result<(u32, u32), Error> {
        kernel::size(kernel::xdp(&mut self.ebpf, PROGRAM)?)
    }

    /// A counter by its index in `lb_common::abi::decap`, summed over CPUs.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn counter(&self, index: u32) -> io::Result<Counter> {
        kernel::sum(&self.counters, index)
    }
}

/// What a program that is on no interface any more has counted.
pub struct Counters(PerCpuArray<MapData, Shared<Counter>>);

impl Counters {
    /// Packets whose outer header was taken off.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn decapsulated(&self) -> io::Result<Counter> {
        kernel::sum(&self.0, DECAPSULATED)
    }

    /// Packets left to the stack for a reason.
    ///
    /// # Errors
    /// As [`Self::decapsulated`].
    pub fn passed(&self, reason: PassReason) -> io::Result<Counter> {
        kernel::sum(&self.0, decap::of_pass(reason))
    }

    /// Packets dropped for a reason.
    ///
    /// # Errors
    /// As [`Self::decapsulated`].
    pub fn dropped(&self, reason: DropReason) -> io::Result<Counter> {
        kernel::sum(&self.0, decap::of_drop(reason))
    }
}

/// A map has room for one entry at least.
fn entries(len: usize) -> u32 {
    u32::try_from(len.max(1)).unwrap_or(u32::MAX)
}

fn fill(ebpf: &mut Ebpf, rules: &Rules) -> Result<(), Error> {
    // They are closed at the end; the program, loaded before, holds them.
    let mut config: Array<MapData, Shared<decap::Config>> = kernel::take(ebpf, map::CONFIG)?;
    let mut sources: LpmTrie<MapData, Shared<SourceKey>, u32> = kernel::take(ebpf, map::SOURCES)?;
    let mut vips: HashMap<MapData, Shared<VipKey>, u32> = kernel::take(ebpf, map::VIPS)?;
    config.set(0, Shared(rules.config()), 0)?;
    for prefix in &rules.sources {
        let key = SourceKey { family: family_of(prefix.address), address: words(wire(prefix.address)) };
        let bits = u32::BITS + u32::from(prefix.length_bits);
        sources.insert(&Key::new(bits, Shared(key)), 1, 0)?;
    }
    for vip in &rules.vips {
        let key = VipKey { address: words(wire(*vip)), family: u64::from(family_of(*vip)) };
        vips.insert(Shared(key), 1, 0)?;
    }
    Ok(())
}

const fn family_of(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => family::V4,
        IpAddr::V6(_) => family::V6,
    }
}
