//! `plugin.toml`, alone and inside of a component.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_plugin_host::fuzzing::plugin_manifest(bytes);
});
