//! What holds for every order in which frames come to the relay's queue and leave it.

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    prop_assert, prop_assert_eq, proptest,
};

use super::delay_line::DelayLine;

/// What is done with a line.
#[derive(Clone, Debug)]
enum Step {
    Push {
        slot: u32,
        wait_ns: u64,
        length: usize,
    },
    /// Time passes, and all that is due is taken.
    Take {
        after_ns: u64,
    },
    Release {
        slot: u32,
    },
}

fn a_step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![Just(0), 0..50_u64, 0..1000_u64];
    prop_oneof![
        6 => (1..4_u32, wait, 8..200_usize).prop_map(|(slot, wait_ns, length)| Step::Push { slot, wait_ns, length }),
        3 => (0..200_u64).prop_map(|after_ns| Step::Take { after_ns }),
        1 => (1..4_u32).prop_map(|slot| Step::Release { slot }),
    ]
}

/// A frame as the model remembers it: in the order in which it must come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Remembered {
    due_ns: u64,
    arrival: u64,
    name: u64,
    slot: u32,
    length: usize,
}

fn frame(name: u64, length: usize) -> Vec<u8> {
    let mut frame = name.to_ne_bytes().to_vec();
    frame.resize(length, 0);
    frame
}

/// Whether there was room.
fn push(line: &mut DelayLine, slot: u32, due_ns: u64, frame: Vec<u8>) -> bool {
    let (room, length) = (line.has_room_for(frame.len()), frame.len());
    if room {
        line.push(slot, due_ns, frame.into(), 0, length);
    }
    room
}

fn name_of(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(bytes[..8].try_into().expect("eight bytes"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_leave_when_they_are_due_in_order_of_due_and_arrival_and_never_take_more_room(
        steps in vec(a_step(), 1..120),
        limit in prop_oneof![500..4000_usize, Just(usize::MAX)],
    ) {
        let mut line = DelayLine::new(limit);
        let mut model: Vec<Remembered> = Vec::new();
        let (mut now_ns, mut arrival, mut name) = (1_000, 0, 0);
        for step in steps {
            match step {
                Step::Push { slot, wait_ns, length } => {
                    let due_ns = now_ns + wait_ns;
                    if push(&mut line, slot, due_ns, frame(name, length)) {
                        model.push(Remembered { due_ns, arrival, name, slot, length });
                        arrival += 1;
                    }
                    name += 1;
                    let room: usize = model.iter().map(|frame| frame.length).sum();
                    prop_assert!(room <= limit, "{} bytes in a line of {}", room, limit);
                }
                Step::Take { after_ns } => {
                    now_ns += after_ns;
                    model.sort();
                    while let Some(taken) = line.pop_due(now_ns) {
                        prop_assert!(taken.due_ns <= now_ns, "it left too early");
                        let first = model.remove(0);
                        let found = (name_of(taken.bytes()), taken.slot, taken.due_ns, taken.bytes().len());
                        prop_assert_eq!(found, (first.name, first.slot, first.due_ns, first.length));
                    }
                    prop_assert!(model.first().is_none_or(|frame| frame.due_ns > now_ns), "one was kept");
                }
                Step::Release { slot } => {
                    line.make_due(slot, now_ns);
                    model.sort();
                    for frame in model.iter_mut().filter(|frame| frame.slot == slot && frame.due_ns > now_ns) {
                        (frame.due_ns, frame.arrival) = (now_ns, arrival);
                        arrival += 1;
                    }
                }
            }
            prop_assert_eq!(line.len(), model.len());
            prop_assert_eq!(line.next_due_ns(), model.iter().map(|frame| frame.due_ns).min());
        }
    }

    /// After everything has left there is as much room as before.
    #[test]
    fn a_line_that_was_emptied_takes_as_much_as_a_new_one(lengths in vec(8..300_usize, 1..20), due_ns in any::<u64>()) {
        let mut line = DelayLine::new(4000);
        let fill = |line: &mut DelayLine| -> Vec<bool> {
            lengths.iter().map(|length| push(line, 1, due_ns, frame(0, *length))).collect()
        };
        let first = fill(&mut line);
        while line.pop_due(u64::MAX).is_some() {}
        prop_assert_eq!(fill(&mut line), first);
    }
}
