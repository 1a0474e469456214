//! Dictionaries from the bus, in its wire format.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_api::fuzzing::bus_dictionary(bytes);
});
