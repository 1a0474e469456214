//! Which namespaces are written down in the journal: all that have an instance, and those in which something could not
//! be taken down.

use std::collections::HashMap;

use super::record::NamespaceRecord;
use crate::{
    journal::{Journal, JournalError, RecordNumber},
    namespace::Namespace,
    residue,
};

pub(super) struct WrittenNamespaces {
    journal: Journal,
    records: HashMap<Namespace, RecordNumber>,
}

impl WrittenNamespaces {
    pub(super) fn in_journal(journal: Journal) -> Self {
        Self { journal, records: HashMap::new() }
    }

    /// Writes a namespace down; when this returns, that is on the disk.
    pub(super) fn begin(&mut self, namespace: &Namespace) -> Result<(), JournalError> {
        let number = self.journal.begin(&NamespaceRecord::of(namespace))?;
        self.records.insert(namespace.clone(), number);
        Ok(())
    }

    /// Strikes a namespace when all of ours in it was taken down. Otherwise it is looked into: what was gone already
    /// could not be taken down either.
    pub(super) fn end(&mut self, namespace: &Namespace, is_clean: bool) {
        let Some(number) = self.records.remove(namespace) else { return };
        if !is_clean && !residue::find_in(namespace).is_ok_and(|found| found.is_empty()) {
            self.journal.give_up(number);
        } else if let Err(error) = self.journal.end(number) {
            tracing::warn!(error = &error as &dyn std::error::Error, "what is undone stays written down");
        }
    }
}
