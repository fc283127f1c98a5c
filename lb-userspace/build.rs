//! Finds the BPF objects that `cargo xtask build` has made, for `dataplane::kernel` and `dataplane::decap` to embed.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=XLB_BPF_DIR");
    let directory = std::env::var_os("XLB_BPF_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/bpfel-unknown-none/release"),
        PathBuf::from,
    );
    for (name, variable) in [("xlb", "XLB_BPF_OBJECT"), ("decap", "XLB_DECAP_OBJECT")] {
        let object = directory.join(name);
        println!("cargo:rerun-if-changed={}", object.display());
        assert!(
            object.is_file(),
            "there is no BPF object at {}: make it with `cargo xtask build`",
            object.display()
        );
        println!("cargo:rustc-env={variable}={}", object.display());
    }
}
