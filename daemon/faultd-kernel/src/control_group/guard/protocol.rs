//! What the daemon and its guard say to each other: lines of fields, which both wrote. A line that is none of these
//! is not understood, and that is an error on either side.

use std::path::PathBuf;

use super::super::{finding::Version, undo::Undo};

const SEPARATOR: &str = "\t";

/// What the daemon wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is still there. Answered.
    Beat,
    /// To hold something from now on, or otherwise than so far. Answered when it holds, or cannot.
    Hold {
        /// Its number.
        number: u64,
        /// When it ends by itself, on the monotonic clock; 0 for never.
        deadline_ns: u64,
        /// What it is.
        hold: Hold,
    },
    /// To count. Answered.
    Count {
        /// Of what.
        number: u64,
    },
    /// To undo. Answered when it is undone.
    End {
        /// What.
        number: u64,
    },
}

/// What a guard can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Pauses of a group.
    Pauses {
        version: Version,
        directory: PathBuf,
        /// How long each is.
        length_ns: u64,
        /// From the begin of one to that of the next; 0 for one alone.
        every_ns: u64,
    },
    /// A quota of a group.
    Quota {
        undo: Undo,
        /// Where the kernel counts.
        statistics: PathBuf,
    },
}

/// What the guard answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is still there.
    Beat,
    /// Something holds.
    Holds {
        number: u64,
        /// Since when, on the monotonic clock.
        since_ns: u64,
    },
    /// What something did so far, or in all where it is undone.
    Counts { number: u64, counts: Counts },
    /// Something does not hold.
    Failed { number: u64, reason: String },
}

/// What was measured of something that is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Pauses in which all stood still, or periods that were cut short.
    pub(crate) hits: u64,
    /// For how long that was, in all.
    pub(crate) total_ns: u64,
    /// Pauses that the kernel did not confirm, or all periods in which there was something to run.
    pub(crate) others: u64,
    /// When the first of them was, on the monotonic clock; 0 if there was none.
    pub(crate) first_ns: u64,
}

impl Order {
    /// As it is sent, its end included.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Beat => line(&["beat"]),
            Self::Count { number } => line(&["count", &number.to_string()]),
            Self::End { number } => line(&["end", &number.to_string()]),
            Self::Hold { number, deadline_ns, hold } => hold_line(*number, *deadline_ns, hold),
        }
    }

    /// Reads a line without its end.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(SEPARATOR).collect();
        Some(match fields.as_slice() {
            ["beat"] => Self::Beat,
            ["count", number] => Self::Count { number: number.parse().ok()? },
            ["end", number] => Self::End { number: number.parse().ok()? },
            ["pauses", number, deadline, version, directory, length, every] => Self::Hold {
                number: number.parse().ok()?,
                deadline_ns: deadline.parse().ok()?,
                hold: Hold::Pauses {
                    version: version_of(version)?,
                    directory: PathBuf::from(directory),
                    length_ns: length.parse().ok()?,
                    every_ns: every.parse().ok()?,
                },
            },
            ["quota", number, deadline, file, restore, ours, statistics] => Self::Hold {
                number: number.parse().ok()?,
                deadline_ns: deadline.parse().ok()?,
                hold: Hold::Quota {
                    undo: Undo {
                        file: PathBuf::from(file),
                        restore: (*restore).to_owned(),
                        ours: Some((*ours).to_owned()),
                    },
                    statistics: PathBuf::from(statistics),
                },
            },
            _ => return None,
        })
    }
}

fn hold_line(number: u64, deadline_ns: u64, hold: &Hold) -> String {
    let (number, deadline) = (number.to_string(), deadline_ns.to_string());
    match hold {
        Hold::Pauses { version, directory, length_ns, every_ns } => {
            let directory = directory.display().to_string();
            let times = [length_ns, every_ns].map(ToString::to_string);
            line(&["pauses", &number, &deadline, version.text(), &directory, &times[0], &times[1]])
        }
        Hold::Quota { undo, statistics } => {
            let files = [&undo.file, statistics].map(|file| file.display().to_string());
            let ours = undo.ours.as_deref().unwrap_or_default();
            line(&["quota", &number, &deadline, &files[0], &undo.restore, ours, &files[1]])
        }
    }
}

impl Reply {
    /// As it is sent, its end included.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Beat => line(&["beat"]),
            Self::Holds { number, since_ns } => line(&["holds", &number.to_string(), &since_ns.to_string()]),
            Self::Counts { number, counts } => {
                let Counts { hits, total_ns, others, first_ns } = counts;
                line(&[
                    "counts",
                    &[number, hits, total_ns, others, first_ns].map(ToString::to_string).join(SEPARATOR),
                ])
            }
            Self::Failed { number, reason } => {
                line(&["failed", &number.to_string(), &reason.replace(char::is_control, " ")])
            }
        }
    }

    /// Reads a line without its end.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(SEPARATOR).collect();
        Some(match fields.as_slice() {
            ["beat"] => Self::Beat,
            ["holds", number, since] => {
                Self::Holds { number: number.parse().ok()?, since_ns: since.parse().ok()? }
            }
            ["counts", number, hits, total, others, first] => Self::Counts {
                number: number.parse().ok()?,
                counts: Counts {
                    hits: hits.parse().ok()?,
                    total_ns: total.parse().ok()?,
                    others: others.parse().ok()?,
                    first_ns: first.parse().ok()?,
                },
            },
            ["failed", number, reason] => {
                Self::Failed { number: number.parse().ok()?, reason: (*reason).to_owned() }
            }
            _ => return None,
        })
    }

    /// The number of what it is about.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Beat => None,
            Self::Holds { number, .. } | Self::Counts { number, .. } | Self::Failed { number, .. } => {
                Some(*number)
            }
        }
    }
}

fn version_of(text: &str) -> Option<Version> {
    [Version::One, Version::Two].into_iter().find(|version| version.text() == text)
}

fn line(fields: &[&str]) -> String {
    format!("{}\n", fields.join(SEPARATOR))
}

/// Bytes as they come, cut into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// The lines that end within these bytes, without their ends.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.begun.extend_from_slice(bytes);
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.begun.split_off(end.saturating_add(1));
        let whole = std::mem::replace(&mut self.begun, rest);
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{Just, ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest},
    };

    use super::*;

    fn a_hold() -> impl Strategy<Value = Hold> {
        let version = prop_oneof![Just(Version::One), Just(Version::Two)];
        let path = || "(/[a-z0-9 .:\\\\ä-]{1,12}){1,4}".prop_map(PathBuf::from);
        prop_oneof![
            (version, path(), any::<u64>(), any::<u64>()).prop_map(
                |(version, directory, length_ns, every_ns)| Hold::Pauses {
                    version,
                    directory,
                    length_ns,
                    every_ns,
                }
            ),
            (path(), path(), "[a-z0-9 -]{1,9}", "[a-z0-9 -]{1,9}").prop_map(
                |(file, statistics, restore, ours)| Hold::Quota {
                    undo: Undo { file, restore, ours: Some(ours) },
                    statistics,
                }
            ),
        ]
    }

    fn an_order() -> impl Strategy<Value = Order> {
        prop_oneof![
            Just(Order::Beat),
            any::<u64>().prop_map(|number| Order::Count { number }),
            any::<u64>().prop_map(|number| Order::End { number }),
            (any::<u64>(), any::<u64>(), a_hold()).prop_map(|(number, deadline_ns, hold)| Order::Hold {
                number,
                deadline_ns,
                hold
            }),
        ]
    }

    fn a_reply() -> impl Strategy<Value = Reply> {
        prop_oneof![
            Just(Reply::Beat),
            any::<(u64, u64)>().prop_map(|(number, since_ns)| Reply::Holds { number, since_ns }),
            any::<[u64; 5]>().prop_map(|[number, hits, total_ns, others, first_ns]| Reply::Counts {
                number,
                counts: Counts { hits, total_ns, others, first_ns },
            }),
            (any::<u64>(), "[a-z :/]{0,20}").prop_map(|(number, reason)| Reply::Failed { number, reason }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_is_said_is_understood_however_it_is_cut(
            orders in vec(an_order(), 0..5), replies in vec(a_reply(), 0..5), piece in 1..40_usize,
        ) {
            let said: String = orders.iter().map(Order::line).collect();
            let mut lines = Lines::default();
            let heard: Vec<String> = said.as_bytes().chunks(piece).flat_map(|bytes| lines.feed(bytes)).collect();
            let heard: Vec<Order> = heard.iter().filter_map(|line| Order::parse(line)).collect();
            prop_assert_eq!(heard, orders);
            let heard: Vec<Reply> =
                replies.iter().filter_map(|reply| Reply::parse(reply.line().trim_end_matches('\n'))).collect();
            prop_assert_eq!(heard, replies);
        }

        #[test]
        fn a_line_that_is_none_is_not_understood_and_breaks_nothing(line in "\\PC{0,40}") {
            let words = ["beat", "count", "end", "pauses", "quota", "holds", "counts", "failed"];
            if !words.iter().any(|word| line.starts_with(word)) {
                prop_assert_eq!(Order::parse(&line), None);
                prop_assert_eq!(Reply::parse(&line), None);
            }
        }
    }

    #[test]
    fn a_reason_of_several_lines_is_one_line() {
        let reply = Reply::Failed { number: 1, reason: "a\nb\tc".into() };
        assert_eq!(reply.line(), "failed\t1\ta b c\n");
    }
}
