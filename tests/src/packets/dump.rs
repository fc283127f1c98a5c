//! Everything that packets can change in a kernel data plane, byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray};
use lb_common::abi::counters::MAX_REASONS;
use lb_common::abi::map;
use lb_userspace::dataplane::Dataplane;
use lb_userspace::dataplane::kernel::Kernel;

/// Counters that are read: all of reasons, answers and events, and those of the first backends, which are all that rows have.
const LOOKED_AT: u32 = 5 * MAX_REASONS;

/// What stands in the maps.
#[derive(Debug, PartialEq, Eq)]
pub struct Dump {
    /// Remembered flows and fragments, by set.
    pub flows: Vec<[[u64; 8]; 2]>,
    /// Counters that are not zero, on every CPU.
    pub counters: BTreeMap<u32, Vec<[u64; 3]>>,
    /// Connections of mode `fullnat`, both sides.
    pub connections: BTreeMap<[u8; 40], [u8; 48]>,
    /// What sources have used up.
    pub limits: BTreeMap<[u8; 16], u64>,
}

impl Dump {
    /// As it is now.
    ///
    /// # Errors
    /// When the kernel does not tell, or this process has no such maps, or several.
    pub fn of(kernel: &Kernel) -> Result<Self> {
        let tables = kernel.tables();
        let words = |set: &lb_common::abi::flow::FlowSet| set.0.map(|entry| entry.0);
        let flows = (0..).map_while(|set| tables.flows(set).map(|flows| (set, words(flows))));
        let flows = flows.map(|(set, flows)| [flows, tables.fragments(set).map_or([0; 8], words)]).collect();
        let counters: PerCpuArray<MapData, [u64; 3]> = own(map::COUNTERS, Map::PerCpuArray)?;
        let counters = (0..LOOKED_AT)
            .map(|index| Ok((index, counters.get(&index, 0)?.iter().copied().collect::<Vec<_>>())))
            .collect::<Result<BTreeMap<_, _>, MapError>>()?;
        Ok(Self {
            flows,
            counters: counters
                .into_iter()
                .filter(|(_, cpus)| cpus.iter().any(|cpu| *cpu != [0; 3]))
                .collect(),
            connections: entries(map::CONNECTIONS, Map::HashMap)?,
            limits: entries(map::LIMITS, Map::LruHashMap)?,
        })
    }
}

fn entries<K: aya::Pod + Ord, V: aya::Pod>(name: &str, kind: fn(MapData) -> Map) -> Result<BTreeMap<K, V>> {
    let map: HashMap<MapData, K, V> = own(name, kind)?;
    Ok(map.iter().collect::<Result<_, _>>()?)
}

/// The one map of a name and a kind that this process has.
fn own<M: TryFrom<Map, Error = MapError>>(name: &str, kind: fn(MapData) -> Map) -> Result<M> {
    let mut ids = BTreeSet::new();
    for info in fs::read_dir("/proc/self/fdinfo")? {
        // The descriptor of the directory itself is gone by then.
        let text = fs::read_to_string(info?.path()).unwrap_or_default();
        ids.extend(text.lines().filter_map(|line| line.strip_prefix("map_id:")?.trim().parse::<u32>().ok()));
    }
    let mut found = None;
    for id in ids {
        let data = MapData::from_id(id)?;
        if data.info()?.name_as_str() == Some(name) {
            anyhow::ensure!(found.is_none(), "this process has several maps {name}");
            found = Some(data);
        }
    }
    let data = found.with_context(|| format!("this process has no map {name}"))?;
    Ok(M::try_from(kind(data))?)
}
