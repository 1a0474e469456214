//! A journal on a disk whose power is cut at any of its steps, and which then has of everything that was not synced
//! as much as it likes. What was said to be written down is there in the next life, and nothing else is torn.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
    test_runner::TestCaseError,
};
use serde::{Deserialize, Serialize};

use super::{Entry, Journal, RecordNumber, disk::Disk};

#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
struct Change(u32);

impl Entry for Change {
    const KIND: &'static str = "change";
}

/// The bytes of a file; names point to it.
type FileId = usize;

#[derive(Default)]
struct Model {
    /// What a process sees, and how much of each file is on the disk for sure.
    files: Vec<(Vec<u8>, bool)>,
    names: BTreeMap<String, FileId>,
    /// What each name meant when the folder was synced last, and since.
    history: BTreeMap<String, Vec<Option<FileId>>>,
    steps_left: usize,
}

impl Model {
    /// One step of the disk; an error from the moment at which there is no power any more.
    fn step(&mut self) -> io::Result<()> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or_else(no_power)?;
        Ok(())
    }

    fn point(&mut self, name: &str, file: Option<FileId>) {
        let before = self.names.get(name).copied();
        self.history.entry(name.to_owned()).or_insert_with(|| vec![before]).push(file);
        match file {
            Some(file) => self.names.insert(name.to_owned(), file),
            None => self.names.remove(name),
        };
    }

    /// What is on the disk when the power is back: of each name any of its meanings, of each file that was not
    /// synced any beginning, and anything after it.
    fn cut(&mut self, mut any_below: impl FnMut(usize) -> usize) {
        for (name, meanings) in std::mem::take(&mut self.history) {
            match meanings[any_below(meanings.len())] {
                Some(file) => self.names.insert(name, file),
                None => self.names.remove(&name),
            };
        }
        for (bytes, is_synced) in self.files.iter_mut().filter(|(_, is_synced)| !is_synced) {
            let length = any_below(bytes.len() + 1);
            let garbage = any_below(4);
            bytes.truncate(length);
            bytes.extend(std::iter::repeat_n(0, garbage));
            *is_synced = true;
        }
        self.steps_left = usize::MAX;
    }
}

fn no_power() -> io::Error {
    io::Error::other("no power")
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Model>>);

impl Disk for Shared {
    fn prepare(&self) -> io::Result<()> {
        self.0.lock().unwrap().step()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let model = self.0.lock().unwrap();
        let file = model.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(model.files[*file].0.clone())
    }

    fn write_synced(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut model = self.0.lock().unwrap();
        model.step()?;
        let file = model.files.len();
        model.files.push((Vec::new(), false));
        model.point(name, Some(file));
        // The power may be cut with any part of it handed over, and before and after it is synced.
        let half = bytes.len() / 2;
        for part in [&bytes[..half], &bytes[half..]] {
            model.step()?;
            model.files[file].0.extend(part);
        }
        model.step()?;
        model.files[file].1 = true;
        model.step()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut model = self.0.lock().unwrap();
        model.step()?;
        let file = *model.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        model.point(to, Some(file));
        model.point(from, None);
        model.step()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut model = self.0.lock().unwrap();
        model.step()?;
        if !model.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        model.point(name, None);
        model.step()
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut model = self.0.lock().unwrap();
        model.step()?;
        model.history.clear();
        model.step()
    }
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Begin,
    /// Of the one of this position among those that are there.
    Replace(usize),
    End(usize),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    vec(
        prop_oneof![
            3 => Just(Action::Begin),
            1 => any::<usize>().prop_map(Action::Replace),
            2 => any::<usize>().prop_map(Action::End),
        ],
        1..12,
    )
}

/// What a daemon has done to the world, as far as its journal let it.
#[derive(Default)]
struct World {
    /// Changes that are made; of one that was being replaced both may be.
    made: BTreeMap<RecordNumber, Vec<Change>>,
    /// What may be written down though it is not made: undone, or refused.
    allowed: Vec<Change>,
    last: u32,
}

impl World {
    fn act(&mut self, journal: &Journal, action: Action) {
        self.last += 1;
        let change = Change(self.last);
        let at = |position: usize| self.made.keys().nth(position % self.made.len().max(1)).copied();
        match action {
            Action::Begin => match journal.begin(&change) {
                Ok(number) => drop(self.made.insert(number, vec![change])),
                Err(_) => self.allowed.push(change),
            },
            Action::Replace(position) => {
                let Some(number) = at(position) else { return };
                match journal.replace(number, &change) {
                    Ok(()) => self.made.insert(number, vec![change]),
                    Err(_) => self.made.get_mut(&number).map(|known| {
                        known.push(change);
                        known.clone()
                    }),
                };
            }
            Action::End(position) => {
                let Some(number) = at(position) else { return };
                // It is undone first.
                self.allowed.extend(self.made.remove(&number).unwrap());
                let _ = journal.end(number);
            }
        }
    }

    fn check_next_life(&self, disk: &Shared) -> Result<(), TestCaseError> {
        let next = Journal::on(Box::new(disk.clone()), Path::new("model"));
        let contents = next.read();
        prop_assert_eq!(&contents.complaints, &Vec::<String>::new(), "nothing is ever torn");
        let found: BTreeMap<RecordNumber, Change> =
            contents.records.iter().map(|record| (record.number, record.entry().unwrap())).collect();
        for (number, changes) in &self.made {
            let known = found.get(number);
            prop_assert!(known.is_some_and(|change| changes.contains(change)), "{number}: {known:?}");
        }
        for (number, change) in found.iter().filter(|(number, _)| !self.made.contains_key(number)) {
            prop_assert!(self.allowed.contains(change), "{number}: {change:?}");
        }
        let names = disk.list().unwrap();
        prop_assert!(names.iter().all(|name| RecordNumber::of_whole(name).is_some()), "{names:?}");
        let number = next.begin(&Change(0)).unwrap();
        prop_assert!(found.keys().all(|known| *known < number), "later ones have higher numbers");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whenever_the_power_is_cut_what_was_made_is_written_down(
        actions in actions(),
        steps in 0_usize..120,
        choices in vec(any::<usize>(), 1..40),
    ) {
        let disk = Shared::default();
        disk.0.lock().unwrap().steps_left = steps;
        let journal = Journal::on(Box::new(disk.clone()), Path::new("model"));
        let mut world = World::default();
        actions.iter().for_each(|action| world.act(&journal, *action));
        let mut choice = choices.iter().cycle();
        disk.0.lock().unwrap().cut(|bound| choice.next().unwrap() % bound);
        world.check_next_life(&disk)?;
    }
}

/// The same at every single step of one life, with the least and the most of what was not synced.
#[test]
fn at_every_step_of_a_life_a_power_cut_loses_nothing_that_was_made() {
    let life = [
        Action::Begin,
        Action::Begin,
        Action::Replace(0),
        Action::End(1),
        Action::Begin,
        Action::End(0),
        Action::Replace(0),
    ];
    for steps in 0..100 {
        for choice in 0..6 {
            let disk = Shared::default();
            disk.0.lock().unwrap().steps_left = steps;
            let journal = Journal::on(Box::new(disk.clone()), Path::new("model"));
            let mut world = World::default();
            life.iter().for_each(|action| world.act(&journal, *action));
            disk.0.lock().unwrap().cut(|bound| if choice == 5 { bound - 1 } else { choice % bound });
            world.check_next_life(&disk).unwrap_or_else(|error| panic!("{steps} {choice}: {error}"));
        }
    }
}

/// A disk without room: nothing is said to be written down, and what is there stays.
#[test]
fn a_step_that_fails_leaves_the_records_before_it() {
    for steps in 0..12 {
        let disk = Shared::default();
        disk.0.lock().unwrap().steps_left = usize::MAX;
        let journal = Journal::on(Box::new(disk.clone()), Path::new("model"));
        let first = journal.begin(&Change(1)).unwrap();
        disk.0.lock().unwrap().steps_left = steps;
        let second = journal.begin(&Change(2));
        disk.0.lock().unwrap().steps_left = usize::MAX;
        let found: Vec<RecordNumber> = journal.read().records.iter().map(|record| record.number).collect();
        let is_there = second.as_ref().ok().copied();
        assert!(found.starts_with(&[first]), "{steps}");
        assert!(is_there.is_none_or(|number| found.contains(&number)), "{steps}: {found:?}");
        let third = journal.begin(&Change(3)).unwrap();
        assert!(third > first && Some(third) != is_there);
    }
}
