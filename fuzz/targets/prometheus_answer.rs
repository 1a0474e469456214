//! What a Prometheus answers to a question.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd::fuzzing::prometheus_answer(bytes);
});
