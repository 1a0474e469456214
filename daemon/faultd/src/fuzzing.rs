//! The door for fuzz targets: parsers of bytes that come from outside, one function each. It says whether
//! something was read out of the bytes, and panics where it is not what it must be.

use faultd_api::{dictionary, fault::FaultRequest, run::RunRequest, shape::FaultShape};
use serde_json::{Map, Value};

use crate::{
    fault::{FaultSpec, Selection},
    lab::{description::LabDescription, record::LabRecord},
    run::{
        spec::RunSpec,
        stop::prometheus::has_values,
        transcript::{self, Transcript},
    },
};

/// A request for a fault, written as JSON, on the way that one from the bus takes: what is let through is
/// such that the kernel's side takes it.
pub fn fault_request(bytes: &[u8]) -> bool {
    let Some(request) = from_json::<FaultRequest>(bytes) else { return false };
    let Ok(spec) = FaultSpec::checked(&request) else { return false };
    assert!(spec.effects.check().is_ok(), "{:?}", spec.effects);
    assert!(!spec.text().is_empty() && !spec.kind().is_empty());
    true
}

/// A request for a run, in the same way.
pub fn run_request(bytes: &[u8]) -> bool {
    let Some(request) = from_json::<RunRequest>(bytes) else { return false };
    RunSpec::checked(&request).is_ok_and(|spec| {
        assert!(spec.fault.is_none_or(|fault| fault.effects.check().is_ok()));
        true
    })
}

fn from_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let fields: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    dictionary::decode(dictionary::encode(&fields).ok()?).ok()
}

/// Peers as people write them, one a line.
pub fn peers(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let to: Vec<String> = text.lines().map(str::to_owned).collect();
    let shape = FaultShape { to, ..FaultShape::default() };
    let Ok(selection) = Selection::checked(&shape) else { return false };
    let selectors = selection.selectors(|_name| Vec::new());
    assert!(!selectors.is_empty() && selectors.len() <= shape.to.len().max(1));
    true
}

/// `cluster.toml`: whatever is let through has names that are no paths, and addresses that differ.
pub fn lab_description(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let lab = match LabDescription::parse(text, None) {
        Ok(lab) => lab,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let names = lab.members.iter().map(|member| &member.name).chain([&lab.name]);
    assert!(names.clone().all(|name| (1..=12).contains(&name.len()) && !name.contains(['/', '.', '\0'])));
    let mut addresses: Vec<_> =
        lab.members.iter().map(|member| member.address).chain([lab.switch_address]).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), lab.members.len().saturating_add(1));
    true
}

/// What a record of the journal says of a lab, as an earlier life of the daemon left it, or somebody else.
pub fn lab_record(bytes: &[u8]) -> bool {
    let Ok(record) = serde_json::from_slice::<LabRecord>(bytes) else { return false };
    let again =
        serde_json::to_vec(&record).ok().and_then(|text| serde_json::from_slice::<LabRecord>(&text).ok());
    assert_eq!(again.as_ref(), Some(&record));
    true
}

/// `schedule.jsonl`, as it was written, or as somebody else has it replayed.
pub fn schedule_transcript(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok((opening, exchanges)) = transcript::read(text) else { return false };
    let mut written = Vec::new();
    let mut again = Transcript::begin(&mut written, &opening);
    exchanges.iter().for_each(|exchange| again.exchange(exchange));
    assert_eq!(again.failure(), None);
    let written = String::from_utf8_lossy(&written);
    assert!(transcript::read(&written).is_ok_and(|read| read == (opening, exchanges)));
    true
}

/// What a Prometheus answers, or somebody in its place.
pub fn prometheus_answer(bytes: &[u8]) -> bool {
    has_values(bytes)
}

#[cfg(test)]
mod tests {
    use super::{
        fault_request, lab_description, lab_record, peers, prometheus_answer, run_request,
        schedule_transcript,
    };
    use faultd_testkit::seeds::exercise;

    #[test]
    fn no_bytes_break_the_readers_of_this_crate() {
        exercise("fault_request", fault_request);
        exercise("run_request", run_request);
        exercise("schedule_transcript", schedule_transcript);
        exercise("prometheus_answer", prometheus_answer);
        exercise("peers", peers);
        exercise("lab_description", lab_description);
        exercise("lab_record", lab_record);
    }
}
