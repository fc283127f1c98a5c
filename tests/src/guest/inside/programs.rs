//! Does every program load, and attach to a veth and to a virtio interface natively?

use std::fs;

use anyhow::{Context, Result};
use aya::EbpfLoader;
use lb_userspace::dataplane::kernel::{self, Kernel, Options};
use lb_userspace::model::XdpMode;

use super::super::Program;
use super::init::{VIRTIO, ip};
use super::report::Report;
use crate::packets::world;

const VETH: &str = "xlb-veth";

pub(super) fn check(report: &mut Report) -> Result<()> {
    ip(&["link", "add", VETH, "up", "type", "veth", "peer", "name", "xlb-peer"])?;
    let path = crate::testbed_object();
    let testbed = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for name in programs_of(kernel::OBJECT)? {
        let options = world::options();
        one(report, name.clone(), kernel::OBJECT, &name, &options)?;
        // Other instructions: the verifier walks through those that log.
        let traced = Options { trace_drops: true, ..options };
        one(report, format!("{name} --trace-drops"), kernel::OBJECT, &name, &traced)?;
    }
    for name in programs_of(&testbed)? {
        one(report, format!("testbed {name}"), &testbed, &name, &world::options())?;
    }
    ip(&["link", "delete", VETH])
}

fn programs_of(object: &[u8]) -> Result<Vec<String>> {
    let object = EbpfLoader::new().load(object)?;
    let mut names: Vec<String> = object.programs().map(|(name, _)| name.to_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

fn one(report: &mut Report, name: String, object: &[u8], program: &str, options: &Options) -> Result<()> {
    match load_and_attach(object, program, options) {
        Ok((verified, translated)) => {
            let attached = ["veth", "virtio-net"].map(str::to_owned).into();
            report.program(Program { name, verified, translated, attached })
        }
        Err(error) => report.failed(&name, &error),
    }
}

fn load_and_attach(object: &[u8], program: &str, options: &Options) -> Result<(u32, u32)> {
    let mut kernel = Kernel::load_program(object, program, options, &[])?;
    let (translated, verified) = kernel.size()?;
    for interface in [VETH, VIRTIO] {
        kernel.attach(interface, XdpMode::Native)?;
    }
    Ok((verified, translated))
}
