//! Does every program load, and attach to a veth and to a virtio interface natively?

use std::fs;

use anyhow::{Context, Result};
use aya::EbpfLoader;
use lb_userspace::dataplane::decap;
use lb_userspace::dataplane::kernel::{self, Kernel, Options};
use lb_userspace::model::XdpMode;

use super::super::Program;
use super::init::{VIRTIO, ip};
use super::report::Report;
use crate::packets::{self, world};

const VETH: &str = "xlb-veth";

pub(super) fn check(report: &mut Report) -> Result<()> {
    ip(&["link", "add", VETH, "up", "type", "veth", "peer", "name", "xlb-peer"])?;
    let path = crate::testbed_object();
    let testbed = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for name in programs_of(kernel::OBJECT)? {
        let options = world::options();
        one(report, name.clone(), || balancer(kernel::OBJECT, &name, &options))?;
        // Other instructions: the verifier walks through those that log.
        let traced = Options { trace_drops: true, ..options };
        one(report, format!("{name} --trace-drops"), || balancer(kernel::OBJECT, &name, &traced))?;
    }
    for name in programs_of(&testbed)? {
        one(report, format!("testbed {name}"), || balancer(&testbed, &name, &world::options()))?;
    }
    one(report, decap::PROGRAM.to_owned(), receiver)?;
    ip(&["link", "delete", VETH])
}

fn programs_of(object: &[u8]) -> Result<Vec<String>> {
    let object = EbpfLoader::new().load(object)?;
    let mut names: Vec<String> = object.programs().map(|(name, _)| name.to_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

/// Reports what loading and attaching a program gives: instructions that the verifier walked through, and those that it left.
fn one(
    report: &mut Report,
    name: String,
    load_and_attach: impl FnOnce() -> Result<(u32, u32)>,
) -> Result<()> {
    match load_and_attach() {
        Ok((verified, translated)) => {
            let attached = ["veth", "virtio-net"].map(str::to_owned).into();
            report.program(Program { name, verified, translated, attached })
        }
        Err(error) => report.failed(&name, &error),
    }
}

fn balancer(object: &[u8], program: &str, options: &Options) -> Result<(u32, u32)> {
    let mut kernel = Kernel::load_program(object, program, options, &[])?;
    let (translated, verified) = kernel.size()?;
    for interface in [VETH, VIRTIO] {
        kernel.attach(interface, XdpMode::Native)?;
    }
    Ok((verified, translated))
}

fn receiver() -> Result<(u32, u32)> {
    let mut program = packets::decap::in_kernel()?;
    let (translated, verified) = program.size()?;
    for interface in [VETH, VIRTIO] {
        program.attach(interface, XdpMode::Native)?;
    }
    Ok((verified, translated))
}
