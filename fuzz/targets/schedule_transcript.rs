//! `schedule.jsonl` of a run.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd::fuzzing::schedule_transcript(bytes);
});
