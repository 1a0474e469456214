//! Conditions that stop a run, and addresses of a Prometheus.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_api::fuzzing::stop_condition(bytes);
});
