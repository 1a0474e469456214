//! The driver `etcd-kv`: puts, gets or a mix of both on an etcd cluster, through the JSON gateway of etcd's
//! own HTTP port (etcd 3.4 and later).
//!
//! Setting `serializable=true` lets the serving member answer reads from its own copy; without it reads are
//! linearizable, which costs a round trip to the leader.

mod gateway;
mod status;

use faultd_plugin_sdk::driver::{Driver, Failure, Outcome, Role, Settings, post_json};
use faultd_plugin_sdk::random::Random;
use faultd_plugin_sdk::{export_driver, settings};

/// One client.
struct EtcdClient {
    random: Random,
    member_count: u32,
    serving: u32,
    key_space: u64,
    read_share: f64,
    serializable: bool,
    /// Every put writes the same value, encoded once: etcd stores each as a new revision anyway.
    value: String,
}

export_driver!(EtcdClient);

impl Driver for EtcdClient {
    fn start(settings: Settings) -> Result<Self, String> {
        let [serializable] = settings::read(&settings.settings, ["serializable"])?;
        let serializable = settings::flag("serializable", serializable.as_deref())?;
        if !(0.0..=1.0).contains(&settings.read_share) {
            return Err(format!("the read share is 0.0 to 1.0, not {}", settings.read_share));
        }
        let mut random = Random::from_host();
        Ok(Self {
            member_count: u32::try_from(settings.members.len()).map_err(|error| error.to_string())?,
            serving: settings.serving,
            key_space: settings.key_space.max(1),
            read_share: settings.read_share,
            serializable,
            value: gateway::random_value(&mut random, settings.value_bytes),
            random,
        })
    }

    fn operate(&mut self) -> Outcome {
        let key = self.random.below(self.key_space);
        if self.random.chance(self.read_share) {
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

fn outcome(operation: &str, result: Result<(), Failure>) -> Outcome {
    Outcome { operation: operation.to_owned(), failure: result.err() }
}
