//! Answers of a member, read from bytes that may be anything.
//!
//! Errors are read by `scylla-cql`. Results are not: it trusts the numbers of columns that it is told and would
//! ask for as much memory, and of a result this driver wants very little anyway.

use bytes::Bytes;
use scylla_cql::frame::protocol_features::ProtocolFeatures;
use scylla_cql::frame::response::{Error, ResponseOpcode};
use scylla_cql::frame::{parse_response_body_extensions, types};

/// Length of a head, in bytes.
pub const HEAD_BYTES: usize = 9;
/// The longest body that is read, in bytes: what a member sends at most (`native_transport_max_frame_size`).
const LONGEST_BODY: usize = 16 << 20;
/// The version that this driver speaks, with the bit that answers have.
const ANSWER_OF_VERSION_4: u8 = 0x84;
/// The type `uuid` among those of columns.
const UUID: u16 = 0x000c;

/// What stands before each answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the request that it answers; negative for events.
    pub stream: i16,
    /// Length of what follows, in bytes.
    pub length: usize,
    flags: u8,
    opcode: ResponseOpcode,
}

/// An answer, as far as it matters.
#[derive(Debug)]
pub enum Answer {
    /// The request has failed.
    Error(Error),
    /// The connection can be used.
    Ready,
    /// The member wants to know who asks.
    Authenticate,
    /// A statement was prepared, and this is its name from now on.
    Prepared(Bytes),
    /// The rows of a query for one column of uuids. Rows of anything else are not read.
    Rows(Bytes),
    /// The schema was changed.
    SchemaChange,
    /// It was done, and nothing is to be told.
    Done,
    /// Something that this driver has not asked for.
    Unexpected,
}

/// Reads a head.
///
/// # Errors
/// Says what is wrong with it; the connection is of no more use.
pub fn head(bytes: &[u8]) -> Result<Head, String> {
    let &[version, flags, stream_0, stream_1, opcode, length_0, length_1, length_2, length_3] = bytes else {
        return Err(format!("a head of {} bytes", bytes.len()));
    };
    if version != ANSWER_OF_VERSION_4 {
        return Err(format!("no answer in version 4 of Cassandra's protocol: it begins with {version:#04x}"));
    }
    let length = u32::from_be_bytes([length_0, length_1, length_2, length_3]);
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST_BODY);
    Ok(Head {
        stream: i16::from_be_bytes([stream_0, stream_1]),
        length: length.ok_or_else(|| format!("an answer of more than {LONGEST_BODY} bytes"))?,
        flags,
        opcode: ResponseOpcode::try_from(opcode).map_err(|error| error.to_string())?,
    })
}

/// Reads what follows a head.
///
/// # Errors
/// Says what is wrong with it.
pub fn answer(head: &Head, body: Vec<u8>) -> Result<Answer, String> {
    // Nothing is compressed, as no request has offered it; warnings of the member are left unread.
    let body = parse_response_body_extensions(head.flags, None, body.into());
    let body = body.map_err(|error| error.to_string())?.body;
    match head.opcode {
        ResponseOpcode::Error => {
            let error = Error::deserialize(&ProtocolFeatures::default(), &mut &*body);
            Ok(Answer::Error(error.map_err(|error| error.to_string())?))
        }
        ResponseOpcode::Ready | ResponseOpcode::AuthSuccess => Ok(Answer::Ready),
        ResponseOpcode::Authenticate => Ok(Answer::Authenticate),
        ResponseOpcode::Result => result(&body),
        _ => Ok(Answer::Unexpected),
    }
}

fn result(body: &Bytes) -> Result<Answer, String> {
    let rest = &mut &**body;
    match types::read_int(rest).map_err(|error| error.to_string())? {
        1 | 3 => Ok(Answer::Done),
        2 => Ok(Answer::Rows(Bytes::copy_from_slice(rest))),
        4 => {
            let id = types::read_short_bytes(rest).map_err(|error| error.to_string())?;
            Ok(Answer::Prepared(Bytes::copy_from_slice(id)))
        }
        5 => Ok(Answer::SchemaChange),
        _ => Ok(Answer::Unexpected),
    }
}

/// The first uuid in rows of one column.
///
/// # Errors
/// They are no such rows, or there is none.
pub fn first_uuid(rows: &[u8]) -> Result<Vec<u8>, String> {
    const ONE_TABLE: i32 = 1;
    const MORE_PAGES: i32 = 2;
    let rest = &mut &*rows;
    let broken = |error: &dyn std::fmt::Display| format!("rows that cannot be read: {error}");
    let flags = types::read_int(rest).map_err(|error| broken(&error))?;
    let columns = types::read_int(rest).map_err(|error| broken(&error))?;
    if flags & !(ONE_TABLE | MORE_PAGES) != 0 || columns != 1 {
        return Err(broken(&"not one column with its type"));
    }
    if flags & MORE_PAGES != 0 {
        types::read_bytes_opt(rest).map_err(|error| broken(&error))?;
    }
    // Keyspace, table and column: where there is one table or one column, they come in the same order.
    for _ in 0..3 {
        types::read_string(rest).map_err(|error| broken(&error))?;
    }
    if types::read_short(rest).map_err(|error| broken(&error))? != UUID {
        return Err(broken(&"the column is no uuid"));
    }
    if types::read_int(rest).map_err(|error| broken(&error))? < 1 {
        return Err(broken(&"there is no row"));
    }
    let value = types::read_bytes_opt(rest).map_err(|error| broken(&error))?;
    value.map(<[u8]>::to_vec).ok_or_else(|| broken(&"the value is missing"))
}

#[cfg(test)]
mod tests {
    use faultd_plugin_sdk::random::Random;
    use scylla_cql::frame::response::error::DbError;

    use super::*;

    fn read(opcode: u8, body: &[u8]) -> Result<Answer, String> {
        let length = u8::try_from(body.len()).unwrap();
        let head = head(&[0x84, 0, 0, 1, opcode, 0, 0, 0, length]).unwrap();
        assert_eq!((head.stream, head.length), (1, body.len()));
        answer(&head, body.to_vec())
    }

    #[test]
    fn a_head_of_another_version_or_a_huge_one_is_refused() {
        let refused = |bytes: &[u8]| head(bytes).unwrap_err();
        assert!(refused(&[0x83, 0, 0, 0, 2, 0, 0, 0, 0]).contains("version 4"));
        assert!(refused(&[0x04, 0, 0, 0, 2, 0, 0, 0, 0]).contains("version 4"));
        assert!(refused(&[0x84, 0, 0, 0, 2, 0xff, 0, 0, 0]).contains("more than"));
        assert!(refused(&[0x84, 0, 0, 0, 0x55, 0, 0, 0, 0]).contains("ResponseOpcode"));
        assert!(refused(b"HTTP").contains("4 bytes"));
    }

    #[test]
    fn the_answers_that_a_client_meets_are_told_apart() {
        assert!(matches!(read(2, b""), Ok(Answer::Ready)));
        assert!(matches!(read(16, b"\0\0\0\0"), Ok(Answer::Ready)));
        assert!(matches!(read(3, b"\0\x01a"), Ok(Answer::Authenticate)));
        assert!(matches!(read(8, b"\0\0\0\x01"), Ok(Answer::Done)));
        assert!(matches!(read(8, b"\0\0\0\x05rest"), Ok(Answer::SchemaChange)));
        assert!(matches!(read(8, b"\0\0\0\x04\0\x02idrest"), Ok(Answer::Prepared(id)) if *id == *b"id"));
        assert!(matches!(read(6, b"\0\0"), Ok(Answer::Unexpected)));
        assert!(read(8, b"\0\0").is_err());
    }

    #[test]
    fn warnings_before_an_answer_are_passed_over() {
        let head = head(&[0x84, 8, 0, 0, 8, 0, 0, 0, 10]).unwrap();
        let body = b"\0\x01\0\x02hm\0\0\0\x01".to_vec();
        assert!(matches!(answer(&head, body), Ok(Answer::Done)));
    }

    #[test]
    fn an_error_carries_its_details() {
        let body = b"\0\0\x10\0\0\x02no\0\x05\0\0\0\x03\0\0\0\x02";
        let Ok(Answer::Error(error)) = read(0, body) else { panic!() };
        assert_eq!(error.reason, "no");
        assert!(matches!(error.error, DbError::Unavailable { required: 3, alive: 2, .. }));
    }

    #[test]
    fn the_version_of_a_schema_is_found_in_its_row() {
        let rows =
            b"\0\0\0\x01\0\0\0\x01\0\x06system\0\x05local\0\x0eschema_version\0\x0c\0\0\0\x01\0\0\0\x04uuid";
        assert_eq!(first_uuid(rows), Ok(b"uuid".to_vec()));
        let no_row = &rows[..rows.len() - 12];
        assert!(first_uuid(&[no_row, b"\0\0\0\0"].concat()).unwrap_err().contains("there is no row"));
        assert!((0..rows.len()).all(|end| first_uuid(&rows[..end]).is_err()));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let mut random = Random::from_seed(7);
        for _ in 0..200_000 {
            let body: Vec<u8> = (0..random.below(80)).map(|_| byte(&mut random)).collect();
            let flags = if random.chance(0.5) { 0 } else { byte(&mut random) };
            let opcode = [0, 2, 3, 6, 8, 12, 14, 16][usize::try_from(random.below(8)).unwrap()];
            let head = head(&[0x84, flags, 0, 0, opcode, 0, 0, 0, 0]).unwrap();
            if let Ok(Answer::Rows(rows)) = answer(&head, body) {
                drop(first_uuid(&rows));
            }
            drop(super::head(&(0..9).map(|_| byte(&mut random)).collect::<Vec<_>>()));
        }
    }

    /// Small numbers come often, so that lengths and kinds make sense now and then.
    fn byte(random: &mut Random) -> u8 {
        let limit = if random.chance(0.7) { 6 } else { 256 };
        u8::try_from(random.below(limit)).unwrap()
    }
}
