//! The eBPF object that this binary carries.

/// The object; `None` if the binary was built without.
pub fn object() -> Option<&'static [u8]> {
    static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/nodeway.bpf.o"));
    (!OBJECT.is_empty()).then_some(OBJECT)
}
