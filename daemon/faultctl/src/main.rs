//! The program `faultctl`; what it does is in the library beside it, where tests can reach it.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    faultctl::run().await
}
