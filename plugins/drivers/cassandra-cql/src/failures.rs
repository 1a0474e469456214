//! What may go wrong on a connection, and how it is told.

use faultd_plugin_sdk::driver::Failure;
use scylla_cql::frame::response::Error;
use scylla_cql::frame::response::error::DbError;

/// Why a request has failed.
#[derive(Debug)]
pub enum Trouble {
    /// The connection is of no more use.
    Broken(Failure),
    /// The member has said no; the connection is as good as before.
    Refused(String),
    /// The member does not know a prepared statement (any more).
    Unprepared,
}

impl Trouble {
    /// A member that says what it should not.
    pub fn nonsense(text: String) -> Self {
        Self::Broken(Failure::Server(text))
    }

    /// The failure of an operation that ends with this.
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Broken(failure) => failure,
            Self::Refused(text) => Failure::Server(text),
            Self::Unprepared => Failure::Server("Unprepared: though it was prepared just now".to_owned()),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Broken(failure)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error.error {
            DbError::Unprepared { .. } => Self::Unprepared,
            // The member closes the connection after it.
            DbError::ProtocolError => Self::Broken(Failure::Server(text(&error))),
            _ => Self::Refused(text(&error)),
        }
    }
}

/// An error with its name in the protocol, the member's own words, and how many replicas there were.
fn text(error: &Error) -> String {
    let name = name(&error.error);
    let reason = error.reason.trim();
    match replicas(&error.error) {
        Some(replicas) => format!("{name}: {reason} ({replicas})"),
        None => format!("{name}: {reason}"),
    }
}

fn replicas(error: &DbError) -> Option<String> {
    match error {
        DbError::Unavailable { required, alive, .. } => {
            Some(format!("{alive} of {required} replicas are alive"))
        }
        DbError::ReadTimeout { received, required, .. }
        | DbError::WriteTimeout { received, required, .. } => {
            Some(format!("{received} of {required} replicas have answered"))
        }
        DbError::ReadFailure { numfailures, required, .. }
        | DbError::WriteFailure { numfailures, required, .. } => {
            Some(format!("{numfailures} replicas have failed, {required} are required"))
        }
        _ => None,
    }
}

/// Names as the protocol's specification spells them, in one word.
fn name(error: &DbError) -> String {
    let name = match error {
        DbError::ServerError => "ServerError",
        DbError::ProtocolError => "ProtocolError",
        DbError::AuthenticationError => "AuthenticationError",
        DbError::Unavailable { .. } => "Unavailable",
        DbError::Overloaded => "Overloaded",
        DbError::IsBootstrapping => "IsBootstrapping",
        DbError::TruncateError => "TruncateError",
        DbError::WriteTimeout { .. } => "WriteTimeout",
        DbError::ReadTimeout { .. } => "ReadTimeout",
        DbError::ReadFailure { .. } => "ReadFailure",
        DbError::FunctionFailure { .. } => "FunctionFailure",
        DbError::WriteFailure { .. } => "WriteFailure",
        DbError::SyntaxError => "SyntaxError",
        DbError::Unauthorized => "Unauthorized",
        DbError::Invalid => "Invalid",
        DbError::ConfigError => "ConfigError",
        DbError::AlreadyExists { .. } => "AlreadyExists",
        DbError::Unprepared { .. } => "Unprepared",
        DbError::Other(code) => return format!("error {code:#06x}"),
        _ => "error",
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use scylla_cql::Consistency;
    use scylla_cql::frame::response::error::WriteType;

    use super::*;

    fn told(error: DbError) -> String {
        let Failure::Server(text) = Trouble::from(Error { error, reason: "words".to_owned() }).into_failure()
        else {
            panic!("an error of the server is told as one");
        };
        text
    }

    #[test]
    fn an_error_is_told_by_name_words_and_replicas() {
        let consistency = Consistency::All;
        assert_eq!(
            told(DbError::Unavailable { consistency, required: 3, alive: 2 }),
            "Unavailable: words (2 of 3 replicas are alive)"
        );
        let write_type = WriteType::Simple;
        assert_eq!(
            told(DbError::WriteTimeout { consistency, received: 1, required: 2, write_type }),
            "WriteTimeout: words (1 of 2 replicas have answered)"
        );
        assert_eq!(told(DbError::Overloaded), "Overloaded: words");
        assert_eq!(told(DbError::Other(0x1700)), "error 0x1700: words");
    }

    #[test]
    fn only_an_error_of_the_protocol_breaks_the_connection() {
        let trouble = |error| Trouble::from(Error { error, reason: String::new() });
        assert!(matches!(trouble(DbError::ProtocolError), Trouble::Broken(_)));
        assert!(matches!(trouble(DbError::Overloaded), Trouble::Refused(_)));
        let statement_id = bytes::Bytes::new();
        assert!(matches!(trouble(DbError::Unprepared { statement_id }), Trouble::Unprepared));
    }
}
