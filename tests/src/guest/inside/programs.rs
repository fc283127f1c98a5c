//! Does every program load, and attach to a veth and to a virtio interface natively?

use anyhow::{Context, Result};
use aya::programs::XdpMode as AyaMode;
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::features::Features;
use lb_common::abi::program;
use lb_userspace::dataplane::decap;
use lb_userspace::dataplane::kernel::{Kernel, Options};
use lb_userspace::model::XdpMode;

use super::super::Program;
use super::init::{VIRTIO, ip};
use super::report::Report;
use crate::packets::{self, world};
use crate::testbed::{self, Testbed};

const VETH: &str = "xlb-veth";

pub(super) fn check(report: &mut Report) -> Result<()> {
    ip(&["link", "add", VETH, "up", "type", "veth", "peer", "name", "xlb-peer"])?;
    let everything = world::options();
    // Other instructions: the verifier walks through those that log, and leaves out those of what is off.
    balancer(report, "", &everything)?;
    balancer(report, " --trace-drops", &Options { trace_drops: true, ..everything })?;
    balancer(report, " of dsr alone", &Options { features: Features::NONE, ..everything })?;
    for (with, more) in [(" capturing", Features::CAPTURE), (" for dry runs", Features::DRY_RUN)] {
        balancer(report, with, &Options { features: everything.features.with(more), ..everything })?;
    }
    let object = EbpfLoader::new().load(&testbed::object()?)?;
    for name in own_programs(&object) {
        match load_from_testbed(&name) {
            Ok(found) => report.program(found)?,
            Err(error) => report.failed(&format!("testbed {name}"), &error)?,
        }
    }
    match receiver() {
        Ok(found) => report.program(found)?,
        Err(error) => report.failed(decap::PROGRAM, &error)?,
    }
    ip(&["link", "delete", VETH])
}

/// Those that the object does not share with the balancer's.
fn own_programs(object: &Ebpf) -> Vec<String> {
    let is_shared = |name: &str| program::ALL.iter().any(|(shared, _)| *shared == name);
    let mut names: Vec<String> =
        object.programs().map(|(name, _)| name.to_owned()).filter(|name| !is_shared(name)).collect();
    names.sort_unstable();
    names
}

fn balancer(report: &mut Report, with: &str, options: &Options) -> Result<()> {
    match load_balancer(with, options) {
        Ok(found) => found.into_iter().try_for_each(|one| report.program(one)),
        Err(error) => report.failed(&format!("xlb{with}"), &error),
    }
}

fn load_balancer(with: &str, options: &Options) -> Result<Vec<Program>> {
    let mut kernel = Kernel::load(options)?;
    let mut found: Vec<Program> = kernel
        .sizes()?
        .into_iter()
        .map(|size| Program {
            name: format!("{}{with}", size.name),
            verified: size.verified,
            translated: size.translated,
            attached: Vec::new(),
        })
        .collect();
    for interface in [VETH, VIRTIO] {
        kernel.attach(interface, XdpMode::Native)?;
    }
    // The others are reached by tail calls.
    found.first_mut().context("there is a program")?.attached = attached();
    Ok(found)
}

fn load_from_testbed(name: &str) -> Result<Program> {
    let mut testbed = Testbed::load(name, &[])?;
    let xdp = testbed.xdp()?;
    for interface in [VETH, VIRTIO] {
        xdp.attach(interface, AyaMode::Driver)?;
    }
    let info = xdp.info()?;
    Ok(Program {
        name: format!("testbed {name}"),
        verified: info.verified_instruction_count().unwrap_or_default(),
        translated: info.size_translated().unwrap_or_default() / 8,
        attached: attached(),
    })
}

fn attached() -> Vec<String> {
    ["veth", "virtio-net"].map(str::to_owned).into()
}

fn receiver() -> Result<Program> {
    let mut receiver = packets::decap::in_kernel()?;
    let (translated, verified) = receiver.size()?;
    for interface in [VETH, VIRTIO] {
        receiver.attach(interface, XdpMode::Native)?;
    }
    Ok(Program { name: decap::PROGRAM.to_owned(), verified, translated, attached: attached() })
}
