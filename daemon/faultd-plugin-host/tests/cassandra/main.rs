//! The driver `cassandra-cql` as the daemon runs it, against a real Cassandra: `make test-cassandra`.
#![forbid(unsafe_code)]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of it is test code, also what is outside of the test functions"
)]

mod clients;
mod cluster;
mod login;
mod three_members;
