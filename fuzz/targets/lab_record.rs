//! What a record of the journal says of a lab.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd::fuzzing::lab_record(bytes);
});
