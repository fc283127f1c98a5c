//! The helper programs of a lab, from the object `testbed`.
//!
//! A veth takes frames that XDP sends only if its other end runs an XDP program too, hence `pass` on the switch's
//! port to the balancer. `decap` is the receiving side of mode `ipip` on a web server.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};

use super::netns::Netns;

/// Attached programs; dropping them detaches.
#[derive(Debug)]
pub(super) struct Testbed(Ebpf);

impl Testbed {
    pub(super) fn load() -> Result<Self> {
        let file = crate::testbed::path();
        let object = Ebpf::load_file(&file)
            .with_context(|| format!("cannot load {}: `cargo xtask build` makes it", file.display()))?;
        Ok(Self(object))
    }

    /// Attaches `program` to an interface in a namespace, in native mode.
    pub(super) fn attach(&mut self, program: &str, netns: &Netns, interface: &str) -> Result<()> {
        let xdp: &mut Xdp = self
            .0
            .program_mut(program)
            .with_context(|| format!("testbed has no program {program}"))?
            .try_into()?;
        if xdp.fd().is_err() {
            xdp.load().with_context(|| format!("cannot load program {program}"))?;
        }
        // The kernel looks the interface up in the caller's namespace.
        netns.run(|| {
            xdp.attach(interface, XdpMode::Driver)
                .map(drop)
                .with_context(|| format!("cannot attach {program} to {interface} in {}", netns.name()))
        })
    }
}

/// Cargo's target directory.
pub(super) fn target() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from)
}
