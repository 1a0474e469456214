//! Plugins as the daemon runs them: the ones that ship, against real servers and odd ones.
#![forbid(unsafe_code)]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of it is test code, also what is outside of the test functions"
)]

mod built;
mod cache;
mod clients;
mod etcd_cluster;
mod etcd_kv;
mod http;
mod members;
mod redis;
mod redis_server;
mod servers;
mod streams;
mod tcp_echo;
mod window;
