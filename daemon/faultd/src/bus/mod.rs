//! The bus: thin. A method converts its arguments, asks the owner of the thing, converts the answer.
//!
//! Every caller has a connection of its own on the private socket (peer to peer), so that the end
//! of the connection is the end of the caller: what it owned ends with it.

mod errors;
mod facade;
mod listener;
mod manager;
mod run_object;

pub use self::listener::{ListenError, listen, serve};
pub use self::manager::Services;
