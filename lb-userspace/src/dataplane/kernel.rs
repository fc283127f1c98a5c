//! The data plane in the kernel: loads the BPF object, maps its tables, attaches its program.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuValues, ProgramArray, RingBuf};
use aya::programs::xdp::XdpLinkId;
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp, XdpMode as AyaMode};
use aya::{Ebpf, EbpfError, EbpfLoader};
use lb_common::abi::backend::BackendId;
use lb_common::abi::capture::{CAPTURE_BYTES, Captured};
use lb_common::abi::connection::{Connection, LimitKey, ListKey, ServerKey, Tuple, list};
use lb_common::abi::counters::Counter;
use lb_common::abi::features::Features;
use lb_common::abi::flow::FlowSet;
use lb_common::abi::node::Node;
use lb_common::abi::slot::Slot;
use lb_common::abi::{map, program};
use lb_common::decide;
use lb_common::hash::FlowKey;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::captured::Capturing;
use super::connections::Connections;
use super::dry_run::{DryRun, Ran};
use super::pod::Shared;
use super::region::Region;
use super::shelf::Shelf;
use super::tables::{Maps, Sizes, Tables, slot_lines};
use super::{Dataplane, Grace, IsOver, list_key};
use crate::model::{Prefix, XdpMode};

/// The BPF object that belongs to this build.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(env!("XLB_BPF_OBJECT"));
/// Name of the forwarding program in it.
pub const PROGRAM: &str = "xlb";

/// What can go wrong between the object and a running program; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// EPERM or EACCES.
    #[error(
        "the kernel does not permit BPF: run xlb as root, or with the capabilities BPF, NET_ADMIN, PERFMON and SYS_ADMIN ({0})"
    )]
    NotPermitted(String),
    /// ENOSYS.
    #[error("this kernel has no BPF: boot one that is built with CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT")]
    NoBpf,
    /// The kernel is older than what the program needs.
    #[error("kernel {release} is too old: xlb needs 6.1 or newer")]
    KernelTooOld {
        /// As `uname -r` tells.
        release: String,
    },
    /// The verifier, or the object, or memory.
    #[error("the BPF object does not load: {0}")]
    Load(String),
    /// The interface went away.
    #[error("interface {0}: there is no such interface here: name one that `ip link` lists")]
    NoInterface(String),
    /// The driver does not take the program.
    #[error(
        "interface {interface}: its driver takes no native XDP program ({reason}): set xdp_mode = \"auto\" in [node] to run in \
         the network stack instead, or lower the interface's MTU if it is above 3498"
    )]
    NoNativeXdp {
        /// Which one.
        interface: String,
        /// What the kernel said.
        reason: String,
    },
    /// Somebody else's program.
    #[error(
        "interface {0}: another XDP program is attached: stop the program that owns it, or remove it with `ip link set dev {0} \
         xdp off`"
    )]
    Occupied(String),
    /// Anything else while attaching.
    #[error("interface {interface}: the XDP program cannot be attached: {reason}")]
    Attach {
        /// Which one.
        interface: String,
        /// What the kernel said.
        reason: String,
    },
}

/// How a program got attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attached {
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
}

/// What is fixed at load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How large the tables are.
    pub sizes: Sizes,
    /// Log every dropped packet.
    pub trace_drops: bool,
    /// What the program has to be able to do.
    pub features: Features,
    /// Key of the flow hash.
    pub flow_key: FlowKey,
}

/// A loaded object and its tables.
pub struct Kernel {
    ebpf: Ebpf,
    program: String,
    options: Options,
    tables: Tables,
    counters: PerCpuArray<MapData, Shared<Counter>>,
    connections: Connections,
    lists: LpmTrie<MapData, Shared<ListKey>, u32>,
    servers: HashMap<MapData, Shared<ServerKey>, u32>,
    limits: HashMap<MapData, Shared<LimitKey>, u64>,
    attached: Vec<(String, Attached, XdpLinkId)>,
    /// Where another program finds the maps.
    shelf: Shelf,
    /// The programs that the attached one goes on in: the kernel forgets them when nobody holds the map.
    programs: ProgramArray<MapData>,
    /// Where the program puts captured packets, while it can.
    captures: Option<RingBuf<MapData>>,
    /// The same programs for dry runs, once there was one.
    dry: Option<DryProgram>,
}

/// The programs once more over the same tables, with [`Features::DRY_RUN`].
struct DryProgram {
    ebpf: Ebpf,
    fate: PerCpuArray<MapData, u32>,
    /// Held as [`Kernel`] holds its own.
    _programs: ProgramArray<MapData>,
}

impl DryProgram {
    fn load(options: &Options, shelf: &Shelf) -> Result<Self, Error> {
        let features = Features(options.features.0 & !Features::CAPTURE.0).with(Features::DRY_RUN);
        let options = Options { features, trace_drops: false, ..*options };
        let (mut ebpf, programs) = load_object(OBJECT, PROGRAM, &options, &[], shelf)?;
        let fate = take(&mut ebpf, map::FATE)?;
        Ok(Self { ebpf, fate, _programs: programs })
    }
}

impl Kernel {
    /// Loads this build's object.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(options: &Options) -> Result<Self, Error> {
        require_kernel()?;
        Self::load_program(OBJECT, PROGRAM, options, &[])
    }

    /// Loads one program of an object that has the maps of `lb_common::abi`, and those that it goes on in; `constants` are the
    /// bytes of what it reads as load-time constants.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load_program(
        object: &[u8],
        program: &str,
        options: &Options,
        constants: &[(&str, &[u8])],
    ) -> Result<Self, Error> {
        let shelf = Shelf::new().map_err(|error| classify(&error))?;
        let (mut ebpf, programs) = load_object(object, program, options, constants, &shelf)?;
        let mut tables =
            Tables::over(&BpfMaps(&ebpf), &options.sizes).map_err(|e| Error::Load(e.to_string()))?;
        tables.initialize(options.flow_key);
        Ok(Self {
            program: program.to_owned(),
            options: *options,
            tables,
            counters: take(&mut ebpf, map::COUNTERS)?,
            connections: Connections::new(descriptor(&ebpf, map::CONNECTIONS)?),
            lists: take(&mut ebpf, map::LISTS)?,
            servers: take(&mut ebpf, map::SERVERS)?,
            limits: take(&mut ebpf, map::LIMITS)?,
            attached: Vec::new(),
            shelf,
            programs,
            captures: captures(&mut ebpf, options)?,
            dry: None,
            ebpf,
        })
    }

    /// Takes another program over the same maps in place of the one that is loaded, on every interface, packet by packet.
    fn replace(&mut self, options: &Options) -> Result<(), Error> {
        let (mut ebpf, programs) = load_object(OBJECT, &self.program, options, &[], &self.shelf)?;
        let captures = captures(&mut ebpf, options)?;
        for (interface, mode, link) in std::mem::take(&mut self.attached) {
            let link = xdp(&mut self.ebpf, &self.program)?.take_link(link).map_err(load_error)?;
            let link = xdp(&mut ebpf, &self.program)?.attach_to_link(link).map_err(load_error)?;
            self.attached.push((interface, mode, link));
        }
        // A packet may still be in the programs before, and finds those behind it only while somebody holds their map.
        self.grace().wait();
        self.ebpf = ebpf;
        self.programs = programs;
        self.captures = captures;
        self.options = *options;
        // It can do what the one before could.
        self.dry = None;
        Ok(())
    }

    /// The programs for dry runs, loaded when they are needed first.
    fn dry_program(&mut self) -> Result<&mut DryProgram, Error> {
        let dry = match self.dry.take() {
            Some(dry) => dry,
            None => DryProgram::load(&self.options, &self.shelf)?,
        };
        Ok(self.dry.insert(dry))
    }

    /// Attaches the program to an interface of the current network namespace, until `self` is dropped.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn attach(&mut self, interface: &str, mode: XdpMode) -> Result<Attached, Error> {
        let (link, attached) = attach(xdp(&mut self.ebpf, &self.program)?, interface, mode)?;
        self.attached.push((interface.to_owned(), attached, link));
        Ok(attached)
    }

    /// Hands the records that a program with `trace_drops` writes to the process's log, from a thread of their own.
    ///
    /// # Errors
    /// When the object has no log, or it is read already.
    pub fn log_drops(&mut self) -> Result<(), Error> {
        let log =
            aya_log::EbpfLogger::init(&mut self.ebpf).map_err(|error| Error::Load(error.to_string()))?;
        let spawned = std::thread::Builder::new().name("drop-log".to_owned()).spawn(|| follow(log));
        spawned.map(drop).map_err(|error| Error::Load(format!("no thread for its log: {error}")))
    }

    /// Runs the program on a frame with `BPF_PROG_TEST_RUN` and returns the kernel's action, what became of the frame, and the
    /// time that one of `repeat` runs took on average. The frame comes in on `lo`, interface 1; every repeat gets what the
    /// one before it left.
    ///
    /// # Errors
    /// When the kernel refuses: a frame shorter than 14 bytes, for instance.
    pub fn test_run(&mut self, frame: &[u8], repeat: u32) -> Result<TestRunResult, Error> {
        test_run(xdp(&mut self.ebpf, &self.program)?, frame, None, repeat)
    }

    /// The program that is attached, and those that it goes on in, as they are loaded.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn sizes(&mut self) -> Result<Vec<ProgramSize>, Error> {
        let mut sizes = Vec::new();
        for name in std::iter::once(self.program.as_str())
            .chain(program::needed(self.options.features).map(|(_, name)| name))
        {
            let (translated, verified) = size(xdp(&mut self.ebpf, name)?)?;
            sizes.push(ProgramSize { name: name.to_owned(), translated, verified });
        }
        Ok(sizes)
    }
}

/// How large a loaded program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSize {
    /// Its name in the object.
    pub name: String,
    /// Instructions after the verifier has removed dead branches and inlined map lookups.
    pub translated: u32,
    /// Instructions that the verifier walked through.
    pub verified: u32,
}

/// What [`Kernel::test_run`] saw.
#[derive(Debug)]
pub struct TestRunResult {
    /// An XDP action: 1 drop, 2 pass, 3 send back, 4 redirect.
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Mean time of one run, as the kernel measured it, in whole nanoseconds.
    pub duration: std::time::Duration,
}

impl Dataplane for Kernel {
    fn tables(&self) -> &Tables {
        &self.tables
    }

    fn tables_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }

    fn counter(&self, index: u32) -> io::Result<Counter> {
        sum(&self.counters, index)
    }

    fn clear_counter(&mut self, index: u32) -> io::Result<()> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        let zeros = PerCpuValues::try_from(vec![Shared(Counter::default()); cpus])?;
        self.counters.set(index, zeros, 0).map_err(io::Error::other)
    }

    fn grace(&self) -> Grace {
        Grace::begin()
    }

    fn set_list(&mut self, number: u32, list: &BTreeMap<Prefix, bool>) -> io::Result<()> {
        for (prefix, is_let_in) in list {
            let (bits, key) = list_key(number, prefix);
            let verdict = if *is_let_in { list::ALLOW } else { list::DENY };
            self.lists.insert(&Key::new(bits, Shared(key)), verdict, 0).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn clear_list(&mut self, number: u32, list: &BTreeMap<Prefix, bool>) -> io::Result<()> {
        for prefix in list.keys() {
            let (bits, key) = list_key(number, prefix);
            self.lists.remove(&Key::new(bits, Shared(key))).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn set_server(&mut self, number: u32, server_id: u16, id: Option<BackendId>) -> io::Result<()> {
        let key = Shared(ServerKey { service: number, server_id: u32::from(server_id) });
        match id {
            Some(id) => self.servers.insert(key, u32::from(id.get()), 0),
            None => self.servers.remove(&key),
        }
        .map_err(io::Error::other)
    }

    fn set_features(&mut self, features: Features) -> io::Result<()> {
        if features == self.options.features {
            return Ok(());
        }
        let options = Options { features, ..self.options };
        self.replace(&options).map_err(io::Error::other)
    }

    fn sweep_connections(&mut self, is_over: IsOver) {
        self.connections.sweep(is_over);
    }

    fn connections(&self) -> u64 {
        self.connections.count()
    }
}

/// Runs a program that is loaded as [`Kernel::test_run`] does; `context` is the beginning of a `struct xdp_md`.
///
/// # Errors
/// As there.
pub fn test_run(
    program: &Xdp,
    frame: &[u8],
    context: Option<&[u8]>,
    repeat: u32,
) -> Result<TestRunResult, Error> {
    let mut out = vec![0; frame.len() + 256];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: context,
        repeat,
        ..TestRunOptions::default()
    };
    let result = program.test_run(options).map_err(load_error)?;
    out.truncate(result.data_size_out as usize);
    Ok(TestRunResult { action: result.return_value, frame: out, duration: result.duration })
}

/// The live tables, for deciding about a packet on the host as the program does.
impl decide::Tables for Kernel {
    fn features(&self) -> Features {
        self.options.features
    }

    fn node(&self) -> Option<&Node> {
        self.tables.node()
    }

    fn slot(&self, index: u32) -> Option<Slot> {
        self.tables.slot(index)
    }

    fn flows(&self, set: u32) -> Option<&FlowSet> {
        self.tables.flows(set)
    }

    fn fragments(&self, set: u32) -> Option<&FlowSet> {
        self.tables.fragments(set)
    }

    fn listed(&self, key: &ListKey) -> Option<u32> {
        self.lists.get(&Key::new(u32::BITS + u128::BITS, Shared(*key)), 0).ok()
    }

    fn server(&self, key: &ServerKey) -> Option<BackendId> {
        let id = self.servers.get(&Shared(*key), 0).ok()?;
        BackendId::new(u16::try_from(id).ok()?)
    }

    fn connection(&self, key: &Tuple) -> Option<Connection> {
        self.connections.get(key)
    }

    fn opaque(&self, number: usize) -> usize {
        number
    }

    /// On the clock that `bpf_ktime_get_coarse_ns` reads.
    fn now_us(&self) -> u64 {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map(std::time::Duration::from);
        now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
    }

    /// No frame comes in here; [`Dry`](super::dry_run::Dry) says where one does.
    fn ingress(&self) -> u32 {
        0
    }
}

impl Capturing for Kernel {
    fn next_captured(&mut self) -> Option<Box<Captured>> {
        let record = self.captures.as_mut()?.next()?;
        bytemuck::try_pod_read_unaligned::<Captured>(&record).ok().map(Box::new)
    }
}

impl DryRun for Kernel {
    fn earned_back_us(&self, key: &LimitKey) -> Option<u64> {
        self.limits.get(&Shared(*key), 0).ok()
    }

    fn dry_run(&mut self, frame: &[u8], interface: u32) -> io::Result<Ran> {
        let program = self.dry_program().map_err(io::Error::other)?;
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        program.fate.set(0, PerCpuValues::try_from(vec![0; cpus])?, 0).map_err(io::Error::other)?;
        // `struct xdp_md` (linux/bpf.h): data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let end = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let context: [u32; 6] = [0, end, 0, interface, 0, 0];
        let xdp = xdp(&mut program.ebpf, PROGRAM).map_err(io::Error::other)?;
        let result = test_run(xdp, frame, Some(bytemuck::bytes_of(&context)), 1).map_err(io::Error::other)?;
        // One CPU has run it.
        let fates = program.fate.get(&0, 0).map_err(io::Error::other)?;
        let told = fates.iter().find_map(|fate| fate.checked_sub(1));
        let counter = told.ok_or_else(|| io::Error::other("it has counted the frame nowhere"))?;
        Ok(Ran { action: result.action, frame: result.frame, counter })
    }
}

/// Loads the program and those that it goes on in. Maps that are on the shelf are taken from there, others put there.
fn load_object(
    object: &[u8],
    program: &str,
    options: &Options,
    constants: &[(&str, &[u8])],
    shelf: &Shelf,
) -> Result<(Ebpf, ProgramArray<MapData>), Error> {
    let trace_drops = u8::from(options.trace_drops);
    let sizes = &options.sizes;
    let mut loader = EbpfLoader::new();
    loader
        .map_max_entries(map::SLOTS, slot_lines(sizes.slots))
        .map_max_entries(map::FLOWS, Sizes::sets(sizes.flows))
        .map_max_entries(map::FRAGMENTS, Sizes::sets(sizes.fragments))
        // Both sides of each.
        .map_max_entries(map::CONNECTIONS, sizes.connections.saturating_mul(2))
        // One page where nothing is put there.
        .map_max_entries(
            map::CAPTURES,
            if options.features.has(Features::CAPTURE) { CAPTURE_BYTES } else { 4096 },
        )
        .override_global("TRACE_DROPS", &trace_drops, true)
        .override_global("FEATURES", &options.features.0, true);
    for (name, value) in constants {
        loader.override_global(name, *value, true);
    }
    for name in map::SHARED {
        loader.map_pin_path(name, shelf.path(name));
    }
    let mut ebpf = loader.load(object)?;
    let mut programs: ProgramArray<MapData> = take(&mut ebpf, map::PROGRAMS)?;
    for (place, name) in program::needed(options.features) {
        let one = xdp(&mut ebpf, name)?;
        one.load().map_err(load_error)?;
        programs.set(place, one.fd().map_err(load_error)?, 0)?;
    }
    xdp(&mut ebpf, program)?.load().map_err(load_error)?;
    Ok((ebpf, programs))
}

/// A counter, summed over CPUs.
pub(super) fn sum(counters: &PerCpuArray<MapData, Shared<Counter>>, index: u32) -> io::Result<Counter> {
    let values = counters.get(&index, 0).map_err(io::Error::other)?;
    Ok(values.iter().fold(Counter::default(), |sum, Shared(one)| Counter {
        packets: sum.packets.wrapping_add(one.packets),
        bytes: sum.bytes.wrapping_add(one.bytes),
        new_flows: sum.new_flows.wrapping_add(one.new_flows),
    }))
}

/// Instructions of a loaded program, and those that the verifier walked through.
pub(super) fn size(program: &Xdp) -> Result<(u32, u32), Error> {
    let info = program.info().map_err(load_error)?;
    Ok((
        info.size_translated().unwrap_or_default() / 8,
        info.verified_instruction_count().unwrap_or_default(),
    ))
}

/// The ring of captured packets of a program that captures.
fn captures(ebpf: &mut Ebpf, options: &Options) -> Result<Option<RingBuf<MapData>>, Error> {
    options.features.has(Features::CAPTURE).then(|| take(ebpf, map::CAPTURES)).transpose()
}

/// Another descriptor of a hash map.
fn descriptor(ebpf: &Ebpf, name: &str) -> Result<OwnedFd, Error> {
    let Some(Map::HashMap(data)) = ebpf.map(name) else { return Err(missing(name)) };
    data.fd().as_fd().try_clone_to_owned().map_err(|error| Error::Load(error.to_string()))
}

/// A map of a type that is known.
pub(super) fn take<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<M, Error> {
    Ok(M::try_from(ebpf.take_map(name).ok_or_else(|| missing(name))?)?)
}

struct BpfMaps<'a>(&'a Ebpf);

impl Maps for BpfMaps<'_> {
    fn region<T>(&self, name: &'static str, len: usize) -> io::Result<Region<T>>
    where
        T: bytemuck::AnyBitPattern + bytemuck::NoUninit,
    {
        match self.0.map(name) {
            Some(Map::Array(data)) => Region::map(data.fd().as_fd(), len),
            Some(_) | None => Err(io::Error::other(format!("it has no array {name}"))),
        }
    }
}

/// Waits for records, and ends with the process.
fn follow(mut log: aya_log::EbpfLogger<&'static dyn log::Log>) {
    loop {
        let mut waiting = [PollFd::new(log.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, PollTimeout::NONE).is_ok() {
            log.flush();
        }
    }
}

pub(super) fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp, Error> {
    ebpf.program_mut(name).ok_or_else(|| missing(name))?.try_into().map_err(load_error)
}

fn missing(name: &str) -> Error {
    Error::Load(format!("it has no {name}"))
}

/// Attaches a program to an interface of the current network namespace, as `mode` lets it.
pub(super) fn attach(
    program: &mut Xdp,
    interface: &str,
    mode: XdpMode,
) -> Result<(XdpLinkId, Attached), Error> {
    let (first, second) = match mode {
        XdpMode::Native => (Attached::Native, None),
        XdpMode::Generic => (Attached::Generic, None),
        XdpMode::Auto => (Attached::Native, Some(Attached::Generic)),
    };
    match (attach_as(program, interface, first), second) {
        (Ok(link), _) => Ok((link, first)),
        (Err(Error::NoNativeXdp { .. }), Some(second)) => {
            Ok((attach_as(program, interface, second)?, second))
        }
        (Err(error), _) => Err(error),
    }
}

fn attach_as(program: &mut Xdp, interface: &str, mode: Attached) -> Result<XdpLinkId, Error> {
    let aya_mode = match mode {
        Attached::Native => AyaMode::Driver,
        Attached::Generic => AyaMode::Skb,
    };
    let error = match program.attach(interface, aya_mode) {
        Ok(link) => return Ok(link),
        Err(error) => error,
    };
    let interface = interface.to_owned();
    if matches!(error, ProgramError::UnknownInterface { .. }) {
        return Err(Error::NoInterface(interface));
    }
    let source = io_error(&error);
    let reason = source.map_or_else(|| with_sources(&error), ToString::to_string);
    Err(match (source.map(io::Error::kind), source.and_then(io::Error::raw_os_error), mode) {
        (_, Some(nix::libc::EBUSY | nix::libc::EEXIST), _) => Error::Occupied(interface),
        (Some(io::ErrorKind::PermissionDenied), _, _) => Error::NotPermitted(reason),
        // A driver without XDP says EOPNOTSUPP; one with it that cannot now (MTU, queues) ERANGE, EINVAL or ENOSPC.
        (_, _, Attached::Native) => Error::NoNativeXdp { interface, reason },
        (_, _, Attached::Generic) => Error::Attach { interface, reason },
    })
}

/// The system's error somewhere below another one.
fn io_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        next = error.source();
    }
    None
}

fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

fn classify(error: &(dyn std::error::Error + 'static)) -> Error {
    let text = with_sources(error);
    match io_error(error) {
        Some(io) if io.kind() == io::ErrorKind::PermissionDenied => Error::NotPermitted(io.to_string()),
        Some(io) if io.raw_os_error() == Some(nix::libc::ENOSYS) => Error::NoBpf,
        Some(_) | None => Error::Load(text),
    }
}

pub(super) fn load_error(error: ProgramError) -> Error {
    // The verifier refuses an access with the same number as a lack of rights; only it has something to say.
    if let ProgramError::LoadError { verifier_log, .. } = &error
        && !verifier_log.to_string().trim().is_empty()
    {
        return Error::Load(with_sources(&error));
    }
    classify(&error)
}

impl From<EbpfError> for Error {
    fn from(error: EbpfError) -> Self {
        classify(&error)
    }
}

impl From<MapError> for Error {
    fn from(error: MapError) -> Self {
        classify(&error)
    }
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// The oldest kernel that has everything the programs and the daemon use.
const OLDEST_KERNEL: (u32, u32) = (6, 1);

/// Refuses a kernel that is too old.
pub(super) fn require_kernel() -> Result<(), Error> {
    require_release(&kernel_release())
}

fn require_release(release: &str) -> Result<(), Error> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST_KERNEL => {
            Err(Error::KernelTooOld { release: release.to_owned() })
        }
        // What cannot be read is tried.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_refused_by_name() {
        for new in ["6.1.0-32-cloud-amd64", "6.18.44", "7.2", "strange"] {
            assert!(require_release(new).is_ok(), "{new}");
        }
        for old in ["5.10.0-35-amd64", "6.0.19", "4.19"] {
            let text = require_release(old).unwrap_err().to_string();
            assert_eq!(text, format!("kernel {old} is too old: xlb needs 6.1 or newer"));
        }
    }
}
