//! What an earlier life has left in the kernel, undone: by what it wrote down, and by our names. Every step has its
//! deadline, and an error stops none.

use std::collections::HashSet;

use crate::{
    control_group::undo::Undo,
    datapath::record::{self, NamespaceRecord},
    journal::{Entry, Journal, Outcome, Patience, Record, undo_all},
    kill_points,
    namespace::{self, Namespace},
    residue::{self, Residue},
};

/// Whether a record is of the kernel's side: the others are undone by whoever has begun them.
#[must_use]
pub fn is_of_kernel(record: &Record) -> bool {
    [Undo::KIND, NamespaceRecord::KIND].contains(&record.kind.as_str())
}

/// What a record is about, for people.
#[must_use]
pub fn text(record: &Record) -> String {
    let undo = record.entry::<Undo>().map(|undo| format!("control group file {}", undo.file.display()));
    let text = undo.or_else(|| record.entry::<NamespaceRecord>().map(|record| record.text()));
    text.unwrap_or_else(|| format!("journal record {} ({})", record.number, record.kind))
}

/// Undoes the records of the kernel's side, from the last to the first. `is_alone` says that no other faultd lives on
/// this host, whose devices have the same names.
pub fn undo_recorded(journal: &Journal, records: Vec<Record>, is_alone: bool, patience: Patience) -> Outcome {
    let ours = records.into_iter().filter(is_of_kernel).collect();
    undo_all(journal, ours, patience, text, move |record| undo(record, is_alone))
}

fn undo(record: &Record, is_alone: bool) -> Outcome {
    if !record.is_of_this_boot() {
        // The kernel that held it is no more.
        return Outcome::nothing();
    }
    if let Some(undo) = record.entry::<Undo>() {
        let outcome = undo.of_earlier_life();
        kill_points::here("recover.control");
        return outcome;
    }
    match record.entry::<NamespaceRecord>() {
        Some(namespace) => namespace.of_earlier_life(is_alone),
        None => {
            Outcome::failed(format!("{}: says nothing that is understood, and is left alone", text(record)))
        }
    }
}

/// Removes devices and filters by their names, in our own namespace and in all that have a name: for what an earlier
/// life did not write down, or wrote down elsewhere. Only for who is alone on this host.
#[must_use]
pub fn remove_by_name(patience: Patience) -> Outcome {
    let named = namespace::list_named().into_iter().filter_map(|name| Namespace::open_named(&name).ok());
    let all: HashSet<Namespace> = Namespace::current().into_iter().chain(named).collect();
    all.into_iter().map(|namespace| sweep(namespace, patience)).collect()
}

fn sweep(namespace: Namespace, patience: Patience) -> Outcome {
    let path = namespace.path().display().to_string();
    let swept = patience.bounded(move || match residue::find_in(&namespace) {
        Ok(found) => found.iter().map(record::remove).collect(),
        Err(error) => {
            tracing::warn!(%error, "leftovers cannot be looked for");
            Outcome::nothing()
        }
    });
    swept.unwrap_or_else(|why| Outcome::failed(format!("network namespace {path}: leftovers in it: {why}")))
}

/// Removes the name of a namespace of ours.
#[must_use]
pub fn remove_namespace(name: String) -> Outcome {
    record::remove(&Residue::Namespace { name })
}
