//! A record of the journal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_kernel::fuzzing::journal_record(bytes);
});
