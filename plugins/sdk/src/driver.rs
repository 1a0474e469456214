//! The world `driver` for guests: produces load on a cluster and knows its roles.

pub use crate::bindings::driver::exports::faultd::plugin::workload::{Member, Outcome, Role, Settings};
pub use crate::bindings::driver::faultd::plugin::http::{Failure, Request, Response};

/// One client of a run.
pub trait Driver: Sized {
    /// Called once with what the user asked for.
    ///
    /// # Errors
    /// One line for the user, for example about a setting that is not known.
    fn start(settings: Settings) -> Result<Self, String>;

    /// Does one operation; the host measures how long that takes.
    fn operate(&mut self) -> Outcome;

    /// The role of each member, in the order of the settings; unknown for members that are down.
    ///
    /// # Errors
    /// One line, if nothing can be said of the cluster.
    fn roles(&mut self) -> Result<Vec<Role>, String>;
}

/// Posts a JSON document to a member and waits for its answer, whatever the status.
///
/// # Errors
/// There was no complete answer.
pub fn post_json(member: u32, path: &str, document: &str) -> Result<Response, Failure> {
    crate::bindings::driver::faultd::plugin::http::post(&Request {
        member,
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
            use $crate::driver::{Driver, Outcome, Role, Settings};

            // An instance is one client and has one thread.
            ::std::thread_local! {
                static CLIENT: RefCell<Option<$driver>> = const { RefCell::new(None) };
            }

            struct Exported;

            impl $crate::bindings::driver::exports::faultd::plugin::workload::Guest for Exported {
                fn start(settings: Settings) -> Result<(), String> {
                    $crate::log_panics();
                    let client = <$driver as Driver>::start(settings)?;
                    CLIENT.set(Some(client));
                    Ok(())
                }

                fn operate() -> Outcome {
                    CLIENT.with_borrow_mut(|client| match client {
                        Some(client) => client.operate(),
                        None => ::std::panic!("operate before start"),
                    })
                }

                fn roles() -> Result<Vec<Role>, String> {
                    CLIENT.with_borrow_mut(|client| match client {
                        Some(client) => client.roles(),
                        None => ::std::panic!("roles before start"),
                    })
                }
            }

            $crate::bindings::driver::export_driver_world!(
                Exported with_types_in $crate::bindings::driver
            );
        };
    };
}
