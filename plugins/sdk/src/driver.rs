//! The world `driver` for guests: produces load on a cluster and knows its roles.

pub use crate::bindings::driver::exports::faultd::plugin::workload::{
    Member, Operation, Outcome, Role, Settings,
};
pub use crate::bindings::driver::faultd::plugin::failures::Failure;
pub use crate::bindings::driver::faultd::plugin::http::{Request, Response, Version};

/// One client of a run.
pub trait Driver: Sized {
    /// Called once with what the user asked for.
    ///
    /// # Errors
    /// One line for the user, for example about a setting that is not known.
    fn start(settings: Settings) -> Result<Self, String>;

    /// Makes what the load needs, in one client of a run; nothing by default.
    ///
    /// # Errors
    /// One line for the user: the run does not begin.
    fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Writes `count` keys from `first` on. By default each is one operation that writes.
    ///
    /// # Errors
    /// One line for the user: the run does not begin.
    fn fill(&mut self, first: u64, count: u64) -> Result<(), String> {
        for key in first..first.saturating_add(count) {
            if let Some(failure) = self.operate(Operation { key, reads: false }).failure {
                return Err(format!("key {key}: {}", text(&failure)));
            }
        }
        Ok(())
    }

    /// Does one operation; the host measures how long that takes.
    fn operate(&mut self, operation: Operation) -> Outcome;

    /// The role of each member, in the order of the settings; unknown for members that are down.
    ///
    /// # Errors
    /// One line, if nothing can be said of the cluster.
    fn roles(&mut self) -> Result<Vec<Role>, String>;

    /// Takes away what the run has left, in one client; nothing by default.
    ///
    /// # Errors
    /// One line for the run's log.
    fn clean(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// The outcome of an operation of the kind `operation`.
#[must_use]
pub fn outcome(operation: &str, result: Result<(), Failure>) -> Outcome {
    Outcome { operation: operation.to_owned(), failure: result.err() }
}

/// A failure in words for people.
#[must_use]
pub fn text(failure: &Failure) -> String {
    match failure {
        Failure::Timeout => "no answer in time".to_owned(),
        Failure::Connection(text) => format!("connection failed: {text}"),
        Failure::Server(text) => text.clone(),
    }
}

/// Sends an HTTP request to a member and waits for its answer, whatever the status.
///
/// # Errors
/// There was no complete answer.
pub fn send(request: &Request) -> Result<Response, Failure> {
    crate::bindings::driver::faultd::plugin::http::send(request)
}

/// Posts a JSON document to a member and waits for its answer, whatever the status.
///
/// # Errors
/// There was no complete answer.
pub fn post_json(member: u32, path: &str, document: &str) -> Result<Response, Failure> {
    send(&Request {
        member,
        version: Version::Http1,
        method: "POST".to_owned(),
        path: path.to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: document.as_bytes().to_vec(),
    })
}

/// Makes the crate a driver plugin. Takes a type that implements [`Driver`].
#[macro_export]
macro_rules! export_driver {
    ($driver:ty) => {
        const _: () = {
            use ::std::{cell::RefCell, string::String, vec::Vec};
            use $crate::driver::{Driver, Operation, Outcome, Role, Settings};

            // An instance is one client and has one thread.
            ::std::thread_local! {
                static CLIENT: RefCell<Option<$driver>> = const { RefCell::new(None) };
            }

            fn with_client<T>(call: impl FnOnce(&mut $driver) -> T) -> T {
                CLIENT.with_borrow_mut(|client| match client {
                    Some(client) => call(client),
                    None => ::std::panic!("called before start"),
                })
            }

            struct Exported;

            impl $crate::bindings::driver::exports::faultd::plugin::workload::Guest for Exported {
                fn start(settings: Settings) -> Result<(), String> {
                    $crate::log_panics();
                    let client = <$driver as Driver>::start(settings)?;
                    CLIENT.set(Some(client));
                    Ok(())
                }

                fn prepare() -> Result<(), String> {
                    with_client(|client| client.prepare())
                }

                fn fill(first: u64, count: u64) -> Result<(), String> {
                    with_client(|client| client.fill(first, count))
                }

                fn operate(operation: Operation) -> Outcome {
                    with_client(|client| client.operate(operation))
                }

                fn roles() -> Result<Vec<Role>, String> {
                    with_client(|client| client.roles())
                }

                fn clean() -> Result<(), String> {
                    with_client(|client| client.clean())
                }
            }

            $crate::bindings::driver::export_driver_world!(
                Exported with_types_in $crate::bindings::driver
            );
        };
    };
}
