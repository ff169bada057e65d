#![no_main]

#[path = "../../oci/tests/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::name(data));
