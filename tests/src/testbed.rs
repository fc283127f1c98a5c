//! Programs of the object `testbed`, loaded one by one.

use std::path::PathBuf;

use anyhow::{Context, Result};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use lb_userspace::dataplane::kernel::{TestRunResult, test_run};

/// Where `cargo xtask build` has put the object.
#[must_use]
pub fn path() -> PathBuf {
    let directory = std::env::var_os("XLB_BPF_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/bpfel-unknown-none/release"),
        PathBuf::from,
    );
    directory.join("testbed")
}

/// The object's bytes.
///
/// # Errors
/// It is not there.
pub fn object() -> Result<Vec<u8>> {
    let path = path();
    std::fs::read(&path)
        .with_context(|| format!("{}: cannot be read: make it with `cargo xtask build`", path.display()))
}

/// One program, loaded by itself.
pub struct Testbed {
    ebpf: Ebpf,
    program: String,
}

impl Testbed {
    /// Loads a program; `constants` are the bytes of what it reads as load-time constants.
    ///
    /// # Errors
    /// The object is not there, or the kernel refuses the program.
    pub fn load(program: &str, constants: &[(&str, &[u8])]) -> Result<Self> {
        let object = object()?;
        let mut loader = EbpfLoader::new();
        for (name, value) in constants {
            loader.override_global(name, *value, true);
        }
        let mut testbed = Self { ebpf: loader.load(&object)?, program: program.to_owned() };
        testbed.xdp()?.load()?;
        Ok(testbed)
    }

    /// The program.
    ///
    /// # Errors
    /// The object has no XDP program of this name.
    pub fn xdp(&mut self) -> Result<&mut Xdp> {
        let program = self.ebpf.program_mut(&self.program);
        Ok(program.with_context(|| format!("testbed has no program {}", self.program))?.try_into()?)
    }

    /// Runs it on a frame, as [`test_run`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn test_run(&mut self, frame: &[u8], repeat: u32) -> Result<TestRunResult> {
        Ok(test_run(self.xdp()?, frame, None, repeat)?)
    }
}
