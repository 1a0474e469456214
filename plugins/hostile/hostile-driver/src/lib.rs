//! A driver that breaks one rule of the contract: its setting `mode` says which. It tries the limits of the host
//! in its tests and does not ship.

mod network;

use faultd_plugin_sdk::driver::{Driver, Operation, Outcome, Role, Settings, outcome};
use faultd_plugin_sdk::{export_driver, settings};

/// One client that breaks a rule.
struct Hostile {
    mode: String,
    members: usize,
    operations: u64,
}

export_driver!(Hostile);

impl Driver for Hostile {
    fn start(settings: Settings) -> Result<Self, String> {
        let [mode] = settings::read(&settings.settings, ["mode"])?;
        let mode = mode.unwrap_or_else(|| "good".to_owned());
        let client = Self { mode, members: settings.members.len(), operations: 0 };
        client.maybe_never_end("start");
        Ok(client)
    }

    fn prepare(&mut self) -> Result<(), String> {
        self.maybe_never_end("prepare");
        Ok(())
    }

    fn fill(&mut self, _first: u64, _count: u64) -> Result<(), String> {
        self.maybe_never_end("fill");
        Ok(())
    }

    fn operate(&mut self, _operation: Operation) -> Outcome {
        self.maybe_never_end("operate");
        self.operations += 1;
        match self.mode.as_str() {
            "many-kinds" => outcome(&format!("kind-{}", self.operations), Ok(())),
            "bad-name" => outcome("NOT\nA NAME", Ok(())),
            "long-name" => outcome(&"x".repeat(33), Ok(())),
            "no-name" => outcome("", Ok(())),
            mode => network::operate(mode),
        }
    }

    fn roles(&mut self) -> Result<Vec<Role>, String> {
        self.maybe_never_end("roles");
        match self.mode.as_str() {
            "no-roles" => Ok(Vec::new()),
            "many-roles" => Ok(vec![Role::Leader; 100_000]),
            "long-error" => Err("down\n".repeat(100_000)),
            // The first leads: a lab is only up where somebody does.
            _ => Ok((0..self.members)
                .map(|member| if member == 0 { Role::Leader } else { Role::Follower })
                .collect()),
        }
    }

    fn clean(&mut self) -> Result<(), String> {
        self.maybe_never_end("clean");
        Ok(())
    }
}

impl Hostile {
    fn maybe_never_end(&self, call: &str) {
        if self.mode.strip_prefix("endless:") == Some(call) {
            let mut number = 0_u64;
            loop {
                number = std::hint::black_box(number.wrapping_add(1));
            }
        }
    }
}
