//! The bus: thin. A method converts its arguments, asks the owner of the thing, converts the answer.
//!
//! ```text
//! private socket, a connection each ─┬▶ manager ─┬▶ desk ─▶ door: who calls (kernel, bus), may they (policy, polkit)
//! system bus ────────────────────────┴▶ objects ─┘   ├───▶ faults, labs, plugins, runs ─▶ engine
//!                                          ▲         └───▶ audit
//!                                          └── inventory: what there is
//! ```
//! Every caller has a connection of its own on the private socket (peer to peer), and a name of its own on the system
//! bus: the end of that is the end of the caller, and what it owned ends with it.

mod begin;
mod caller;
mod desk;
mod door;
mod errors;
mod facade;
mod faults;
mod guarded;
mod labs;
mod listener;
mod manager;
mod objects;
mod plugins;
mod private_stream;
mod runs;
mod system;

pub use self::{
    listener::{ListenError, listen, open_to, serve},
    manager::Services,
    system::serve_system_bus,
};
