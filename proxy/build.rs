//! Takes the eBPF object into the binary: `NODEWAY_BPF_OBJECT` names it (`cargo xtask build` sets it).
//! Without it the crate builds all the same, and says at run time what is missing.

use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-env-changed=NODEWAY_BPF_OBJECT");
    let out = PathBuf::from(env::var("OUT_DIR")?).join("nodeway.bpf.o");
    match env::var_os("NODEWAY_BPF_OBJECT") {
        Some(object) => {
            println!("cargo::rerun-if-changed={}", object.display());
            fs::copy(object, out)?;
        }
        None => fs::write(out, [])?,
    }
    Ok(())
}
