//! The driver `etcd-kv`: puts, gets or a mix of both on an etcd cluster, through the JSON gateway of etcd's
//! own HTTP port (etcd 3.4 and later).
//!
//! Setting `serializable=true` lets the serving member answer reads from its own copy; without it reads are
//! linearizable, which costs a round trip to the leader.

mod gateway;
mod status;

use faultd_plugin_sdk::driver::{Driver, Failure, Operation, Outcome, Role, Settings, outcome, post_json};
use faultd_plugin_sdk::random::Random;
use faultd_plugin_sdk::{export_driver, settings};

/// One client.
struct EtcdClient {
    member_count: u32,
    serving: u32,
    serializable: bool,
    /// Every put writes the same value, encoded once: etcd stores each as a new revision anyway.
    value: String,
}

export_driver!(EtcdClient);

impl Driver for EtcdClient {
    fn start(settings: Settings) -> Result<Self, String> {
        let [serializable] = settings::read(&settings.settings, ["serializable"])?;
        let serializable = settings::flag("serializable", serializable.as_deref())?;
        Ok(Self {
            member_count: u32::try_from(settings.members.len()).map_err(|error| error.to_string())?,
            serving: settings.serving,
            serializable,
            value: gateway::random_value(&mut Random::from_host(), settings.value_bytes),
        })
    }

    fn operate(&mut self, Operation { key, reads }: Operation) -> Outcome {
        if reads {
            outcome("get", self.post("/v3/kv/range", &gateway::range(key, self.serializable)))
        } else {
            outcome("put", self.post("/v3/kv/put", &gateway::put(key, &self.value)))
        }
    }

    fn roles(&mut self) -> Result<Vec<Role>, String> {
        let answers = (0..self.member_count).map(|member| {
            let response = post_json(member, "/v3/maintenance/status", "{}").ok()?;
            status::parse(response.status, &response.body)
        });
        Ok(status::roles(&answers.collect::<Vec<_>>()))
    }
}

impl EtcdClient {
    fn post(&self, path: &str, document: &str) -> Result<(), Failure> {
        let response = post_json(self.serving, path, document)?;
        gateway::check(response.status, &response.body).map_err(Failure::Server)
    }
}
