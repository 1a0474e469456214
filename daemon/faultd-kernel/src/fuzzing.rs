//! The door for fuzz targets: parsers of bytes that come from outside, one function each. It says whether
//! something was read out of the bytes, and panics where it is not what it must be.

use faultd_abi::{LAST_SLOT, RELAY_HEADER};

use crate::{
    control_group::{
        Controller, GroupOwner,
        finding::{Surroundings, parse_memberships, parse_mounts},
        protocol::{Order, Reply},
        undo::Undo,
    },
    datapath::record::NamespaceRecord,
    holding::relay::unwrap_frame,
    journal::{RecordNumber, parse},
    process::parse_stat,
};

/// A frame as a TAP device hands it to the relay: whoever may send on that device chooses its bytes.
pub fn relay_frame(bytes: &[u8]) -> bool {
    let mut buffer = bytes.to_vec();
    let Some(held) = unwrap_frame(&mut buffer) else { return false };
    assert!(held.slot <= LAST_SLOT, "slot {}", held.slot);
    let frame = buffer.get(held.start..).unwrap_or_default();
    assert_eq!(frame.len(), bytes.len().saturating_sub(RELAY_HEADER), "nothing but our header goes");
    true
}

/// `/proc/PID/stat`, in which the name of the program is its own to choose.
pub fn process_stat(bytes: &[u8]) -> bool {
    parse_stat(&String::from_utf8_lossy(bytes)).is_some()
}

/// `/proc/PID/cgroup`, an empty line, and `/proc/self/mountinfo`: whoever makes groups or mounts names them.
pub fn control_groups(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (groups, mounts) = text.split_once("\n\n").unwrap_or((&text, ""));
    let groups = parse_memberships(groups);
    let surroundings = Surroundings { mounts: parse_mounts(mounts), own_groups: Vec::new() };
    let owner = GroupOwner::Ours { path: "faultd/lab/host".to_owned() };
    for controller in Controller::ALL {
        match surroundings.find(&groups, controller, &owner) {
            Ok(found) => assert!(found.path.ends_with("/faultd/lab/host"), "{}", found.path),
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
    !groups.is_empty()
}

/// A record of the journal, as a daemon that was killed has left it, or a disk has spoilt it. Whole ones are read
/// whatever they say; it is understood by whose it is, or by nobody.
pub fn journal_record(bytes: &[u8]) -> bool {
    let Ok(record) = parse(RecordNumber::default(), bytes) else { return false };
    let (undo, namespace) = (record.entry::<Undo>(), record.entry::<NamespaceRecord>());
    assert!(undo.is_none() || namespace.is_none(), "it is of one kind");
    undo.is_some_and(|undo| undo.is_plausible()) || namespace.is_some()
}

/// What a daemon and its guard say to each other.
pub fn guard_line(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut is_understood = false;
    for line in text.lines() {
        if let Some(order) = Order::parse(line) {
            assert_eq!(Order::parse(order.line().trim_end_matches('\n')).as_ref(), Some(&order));
            is_understood = true;
        }
        if let Some(reply) = Reply::parse(line) {
            assert_eq!(
                Reply::parse(reply.line().trim_end_matches('\n')).and_then(|reply| reply.number()),
                reply.number()
            );
            is_understood = true;
        }
    }
    is_understood
}

#[cfg(test)]
mod tests {
    use super::{control_groups, guard_line, journal_record, process_stat, relay_frame};
    use faultd_testkit::seeds::exercise;

    #[test]
    fn no_bytes_break_the_readers_of_this_crate() {
        exercise("relay_frame", relay_frame);
        exercise("process_stat", process_stat);
        exercise("control_groups", control_groups);
        exercise("journal_record", journal_record);
        exercise("guard_line", guard_line);
    }
}
