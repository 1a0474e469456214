//! The bus: thin. A method converts its arguments, asks the owner of the thing, converts the answer.
//!
//! ```text
//! private socket, a connection each ─▶ door: who calls (kernel, bus), may they (policy, polkit) ─▶ manager ─▶ engine
//! system bus ─────────────────────────▶                                                            └──▶ audit
//! ```
//! Every caller has a connection of its own on the private socket (peer to peer), and a name of its own on the system
//! bus: the end of that is the end of the caller, and what it owned ends with it.

mod caller;
mod door;
mod errors;
mod facade;
mod listener;
mod manager;
mod run_object;
mod system;

pub use self::{
    listener::{ListenError, listen, open_to, serve},
    manager::Services,
    system::serve_system_bus,
};
