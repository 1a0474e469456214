//! Requests as bytes, with their heads. The protocol's version is 4, which is what `scylla-cql` writes.

use std::borrow::Cow;
use std::collections::HashMap;

use scylla_cql::Consistency;
use scylla_cql::frame::SerializedRequest;
use scylla_cql::frame::request::execute::ExecuteV2;
use scylla_cql::frame::request::query::QueryParameters;
use scylla_cql::frame::request::{AuthResponse, Prepare, Query, SerializableRequest, Startup};
use scylla_cql::frame::response::result::{ColumnType, NativeType};
use scylla_cql::serialize::row::SerializedValues;

use crate::options::Login;

/// Why a request cannot be written, for example since a value is too long; one line.
pub type Unwritable = String;

/// Begins a connection.
///
/// # Errors
/// It cannot be written.
pub fn startup() -> Result<Vec<u8>, Unwritable> {
    let options = HashMap::from([
        (Cow::Borrowed("CQL_VERSION"), Cow::Borrowed("3.0.0")),
        // Members list the drivers of their clients (system_views.clients).
        (Cow::Borrowed("DRIVER_NAME"), Cow::Borrowed("faultd cassandra-cql")),
        (Cow::Borrowed("DRIVER_VERSION"), Cow::Borrowed(env!("CARGO_PKG_VERSION"))),
    ]);
    bytes(&Startup { options }, 0)
}

/// Says who the client is, as SASL's mechanism PLAIN wants it.
///
/// # Errors
/// It cannot be written.
pub fn plain_login(login: &Login) -> Result<Vec<u8>, Unwritable> {
    let response = Some(format!("\0{}\0{}", login.user, login.password).into_bytes());
    bytes(&AuthResponse { response }, 0)
}

/// Does a statement once.
///
/// # Errors
/// It cannot be written.
pub fn query(statement: &str) -> Result<Vec<u8>, Unwritable> {
    let parameters = QueryParameters { consistency: Consistency::One, ..QueryParameters::default() };
    bytes(&Query { contents: Cow::Borrowed(statement), parameters }, 0)
}

/// Has a statement prepared.
///
/// # Errors
/// It cannot be written.
pub fn prepare(statement: &str) -> Result<Vec<u8>, Unwritable> {
    bytes(&Prepare { query: statement }, 0)
}

/// Does a prepared statement with a key and, where it writes, a value.
///
/// # Errors
/// It cannot be written.
pub fn execute(
    statement: &[u8],
    consistency: Consistency,
    key: &str,
    value: Option<&[u8]>,
    stream: i16,
) -> Result<Vec<u8>, Unwritable> {
    let parameters = QueryParameters {
        consistency,
        // What comes is the value; there is no need to be told so each time.
        skip_metadata: true,
        values: Cow::Owned(values(key, value)?),
        ..QueryParameters::default()
    };
    let execute =
        ExecuteV2 { id: statement.into(), result_metadata_id: None, parameters, tablet_version_block: None };
    bytes(&execute, stream)
}

fn values(key: &str, value: Option<&[u8]>) -> Result<SerializedValues, Unwritable> {
    let mut values = SerializedValues::new();
    values.add_value(&key, &ColumnType::Native(NativeType::Text)).map_err(|error| error.to_string())?;
    if let Some(value) = value {
        values.add_value(&value, &ColumnType::Native(NativeType::Blob)).map_err(|error| error.to_string())?;
    }
    Ok(values)
}

fn bytes(request: &impl SerializableRequest, stream: i16) -> Result<Vec<u8>, Unwritable> {
    let mut request = SerializedRequest::make(request, None, false).map_err(|error| error.to_string())?;
    request.set_stream(stream);
    Ok(request.get_data().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_head_of_version_4_with_its_stream_and_length() {
        let request = prepare("SELECT 1").unwrap();
        assert_eq!(request[..9], [4, 0, 0, 0, 9, 0, 0, 0, 12]);
        assert_eq!(request[9..13], [0, 0, 0, 8]);
        assert_eq!(&request[13..], b"SELECT 1");
    }

    #[test]
    fn a_login_is_written_as_plain_wants_it() {
        let login = Login { user: "u".to_owned(), password: "pw".to_owned() };
        assert_eq!(&plain_login(&login).unwrap()[9..], b"\0\0\0\x05\0u\0pw");
    }

    #[test]
    fn a_startup_names_the_version_of_cql() {
        let request = startup().unwrap();
        assert_eq!(request[4], 1);
        let text = String::from_utf8_lossy(&request).into_owned();
        assert!(text.contains("CQL_VERSION\0\u{5}3.0.0"), "{text:?}");
    }

    #[test]
    fn an_execution_carries_statement_consistency_key_and_value() {
        let request = execute(b"id", Consistency::Quorum, "k", Some(b"vv"), 1).unwrap();
        // id, consistency, flags (values, skip metadata), two values.
        let expected = b"\0\x02id\0\x04\x03\0\x02\0\0\0\x01k\0\0\0\x02vv";
        assert_eq!(&request[9..], expected);
        let request = execute(b"id", Consistency::All, "k", None, 0x102).unwrap();
        assert_eq!(request[2..4], [1, 2]);
        assert_eq!(&request[9..], b"\0\x02id\0\x05\x03\0\x01\0\0\0\x01k");
    }
}
