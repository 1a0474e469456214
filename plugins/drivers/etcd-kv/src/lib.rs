//! The driver `etcd-kv`: puts, gets or a mix of both on an etcd cluster (3.4 and later).
//!
//! Settings:
//! * `transport`: `grpc` (default) speaks as etcd's own clients do; `gateway` goes through the JSON gateway on
//!   the same port, which costs the member a call to itself for each request.
//! * `serializable=true` lets the serving member answer reads from its own copy; without it reads are
//!   linearizable, which costs a round trip to the leader.

mod gateway;
mod grpc;
mod status;
mod transport;

use faultd_plugin_sdk::driver::{Driver, Operation, Outcome, Role, Settings, outcome, text};
use faultd_plugin_sdk::random::Random;
use faultd_plugin_sdk::{export_driver, settings};

use crate::gateway::Gateway;
use crate::grpc::Grpc;
use crate::transport::{Transport, end_of_prefix, key_name, slices};

/// One client.
struct EtcdClient {
    member_count: u32,
    serving: u32,
    keys: u64,
    serializable: bool,
    transport: Box<dyn Transport>,
}

export_driver!(EtcdClient);

impl Driver for EtcdClient {
    fn start(settings: Settings) -> Result<Self, String> {
        let [transport, serializable] = settings::read(&settings.settings, ["transport", "serializable"])?;
        // Every put writes the same value: etcd stores each as a new revision anyway.
        let value = Random::from_host().bytes(settings.value_bytes);
        Ok(Self {
            member_count: u32::try_from(settings.members.len()).map_err(|error| error.to_string())?,
            serving: settings.serving,
            keys: settings.keys,
            serializable: settings::flag("serializable", serializable.as_deref())?,
            transport: chosen(transport.as_deref(), value)?,
        })
    }

    fn operate(&mut self, Operation { key, reads }: Operation) -> Outcome {
        let key = key_name(key);
        if reads {
            outcome("get", self.transport.get(self.serving, &key, self.serializable))
        } else {
            outcome("put", self.transport.put(self.serving, &key))
        }
    }

    fn roles(&mut self) -> Result<Vec<Role>, String> {
        let answers = (0..self.member_count).map(|member| self.transport.status(member).ok());
        Ok(status::roles(&answers.collect::<Vec<_>>()))
    }

    fn clean(&mut self) -> Result<(), String> {
        // A slice is deleted in the time of one operation; the last deletion is for keys of other runs.
        let slices = slices(self.keys).map(|(first, after)| (key_name(first), key_name(after)));
        for (from, to) in slices.chain([(transport::PREFIX.to_owned(), end_of_prefix())]) {
            self.transport.delete(self.serving, &from, &to).map_err(|failure| text(&failure))?;
        }
        Ok(())
    }
}

/// The transport that the user has chosen.
fn chosen(name: Option<&str>, value: Vec<u8>) -> Result<Box<dyn Transport>, String> {
    match name {
        None | Some("grpc") => Ok(Box::new(Grpc::new(value))),
        Some("gateway") => Ok(Box::new(Gateway::new(&value))),
        Some(other) => Err(format!("setting transport is grpc or gateway, not {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_is_one_of_two() {
        assert!([None, Some("grpc"), Some("gateway")].iter().all(|name| chosen(*name, Vec::new()).is_ok()));
        let refused = chosen(Some("http"), Vec::new()).err().unwrap();
        assert_eq!(refused, r#"setting transport is grpc or gateway, not "http""#);
    }
}
