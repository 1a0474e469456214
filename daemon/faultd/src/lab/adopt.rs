//! What an earlier life of the daemon left: a lab that is whole is taken over, any other is removed.

use std::sync::Arc;

use faultd_kernel::{
    journal::{Journal, Outcome, Patience, Record},
    kill_points, namespace,
};

use super::{
    Lab, LabError, Labs, Slot, cluster_of,
    description::LabDescription,
    is_running,
    record::{LabRecord, LabRecords},
};

/// The name of the lab that a record is about, if it is about one.
pub(crate) fn recorded_name(record: &Record) -> Option<String> {
    record.entry::<LabRecord>().map(|lab| lab.name)
}

/// Takes over or removes every lab that is written down, the last first; answers what was found, one line each.
#[must_use]
pub fn recover(labs: &Labs, patience: Patience) -> Outcome {
    let recover = |record: LabRecord| {
        kill_points::here("recover.lab");
        let (name, shared) = (record.name.clone(), labs.clone());
        match patience.bounded(move || adopt_or_remove(&shared.shared.records, &record)) {
            Ok(Ok(lab)) => {
                labs.shared.records.take_over(&name);
                labs.set(&name, Some(Slot::Up(Arc::new(lab))));
                Outcome::done(format!("lab {name}: whole, taken over"))
            }
            Ok(Err(outcome)) => outcome,
            Err(why) => {
                Outcome::failed(format!("lab {name}: {why}; it stays written down for the next start"))
            }
        }
    };
    of_earlier_lives(&labs.shared.records, recover)
}

/// Removes every lab that is written down, whole or not; answers what was found, one line each.
pub(crate) fn remove_recorded(journal: &Journal, patience: Patience) -> Outcome {
    let records = LabRecords::in_journal(journal.clone());
    of_earlier_lives(&records.clone(), |record| {
        let (name, records) = (record.name.clone(), records.clone());
        let removed = patience.bounded(move || removed(&records, &record, "found in the journal"));
        removed.unwrap_or_else(|why| Outcome::failed(format!("lab {name}: {why}; it stays written down")))
    })
}

fn of_earlier_lives(records: &LabRecords, recover: impl FnMut(LabRecord) -> Outcome) -> Outcome {
    let (labs, unreadable) = records.of_earlier_lives();
    let mut outcome: Outcome = unreadable
        .iter()
        .map(|record| {
            Outcome::failed(format!(
                "journal record {}: a lab in a shape that is not understood, left alone",
                record.number
            ))
        })
        .collect();
    outcome.add(labs.into_iter().rev().map(recover).collect());
    outcome
}

fn adopt_or_remove(records: &LabRecords, record: &LabRecord) -> Result<Lab, Outcome> {
    adopt(record.clone()).map_err(|reason| removed(records, record, &reason.to_string()))
}

fn removed(records: &LabRecords, record: &LabRecord, reason: &str) -> Outcome {
    let failures = records.tear_down(record);
    let line = |outcome: &str| format!("lab {}: {reason}; {outcome}", record.name);
    if failures.is_empty() {
        Outcome::done(line("removed"))
    } else {
        Outcome::failed(line(&failures.join("; ")))
    }
}

fn adopt(record: LabRecord) -> Result<Lab, LabError> {
    if !record.served {
        return Err(LabError::Incomplete("it never served".to_owned()));
    }
    let known = namespace::list_named();
    let names = record.members.iter().map(|member| &member.namespace).chain([&record.switch_namespace]);
    if let Some(missing) = names.into_iter().find(|name| !known.contains(name)) {
        return Err(LabError::Incomplete(format!("namespace {missing} is missing")));
    }
    if let Some(ended) = record.members.iter().find(|member| !is_running(member)) {
        return Err(LabError::Incomplete(format!("{} does not run", ended.name)));
    }
    let description = LabDescription::parse(&record.description, Some(&record.name))?;
    let cluster = cluster_of(&description, &record)?;
    Ok(Lab { description, record, cluster })
}
