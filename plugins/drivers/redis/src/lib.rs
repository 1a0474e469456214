//! The driver `redis`: sets, gets or a mix of both on Redis, or on what speaks its protocol (RESP2).
//!
//! Settings: `user` and `password` (AUTH), `database` (SELECT). Members are masters and replicas as they come:
//! a master is the leader, a replica a follower. A replica takes no writes, so that a load that writes wants
//! `--via leader`. Redis Cluster is not followed: a key of another master is a failed operation (`MOVED`).
//!
//! Cleaning removes some 400,000 keys before the limit of one call ends it; what is left then is for another one.

mod commands;
mod link;
mod replies;

use faultd_plugin_sdk::driver::{Driver, Failure, Operation, Outcome, Role, Settings, outcome, text};
use faultd_plugin_sdk::random::Random;
use faultd_plugin_sdk::{export_driver, settings};

use crate::commands::{command, key_name};
use crate::link::{Greeting, Link};
use crate::replies::Reply;

/// One client.
struct RedisClient {
    member_count: u32,
    serving: u32,
    greeting: Greeting,
    /// Every write writes the same value.
    value: Vec<u8>,
    /// To the serving member. Other members are asked rarely: they get a connection of their own each time.
    link: Option<Link>,
}

export_driver!(RedisClient);

impl Driver for RedisClient {
    fn start(settings: Settings) -> Result<Self, String> {
        let [user, password, database] =
            settings::read(&settings.settings, ["user", "password", "database"])?;
        Ok(Self {
            member_count: u32::try_from(settings.members.len()).map_err(|error| error.to_string())?,
            serving: settings.serving,
            greeting: Greeting::new(user.as_deref(), password.as_deref(), database.as_deref())?,
            value: Random::from_host().bytes(settings.value_bytes),
            link: None,
        })
    }

    fn operate(&mut self, Operation { key, reads }: Operation) -> Outcome {
        let key = key_name(key);
        if reads {
            outcome("get", self.operation(&command(&[b"GET", key.as_bytes()]), Reply::is_value))
        } else {
            let set = command(&[b"SET", key.as_bytes(), &self.value]);
            outcome("set", self.operation(&set, Reply::is_ok))
        }
    }

    fn roles(&mut self) -> Result<Vec<Role>, String> {
        let role = |member| self.role(member).unwrap_or(Role::Unknown);
        Ok((0..self.member_count).map(role).collect())
    }

    fn clean(&mut self) -> Result<(), String> {
        let told = |failure: Failure| text(&failure);
        let mut masters = 0_u32;
        for member in 0..self.member_count {
            if matches!(self.role(member), Ok(Role::Leader)) {
                self.remove_keys(member).map_err(told)?;
                masters += 1;
            }
        }
        if masters == 0 {
            return Err("no member says that it is a master: the keys faultd:* stay".to_owned());
        }
        Ok(())
    }
}

impl RedisClient {
    /// One command to the serving member, whose reply must be as wanted.
    fn operation(&mut self, command: &[u8], wanted: impl Fn(&Reply) -> bool) -> Result<(), Failure> {
        // Taken out, so that it is dropped with any failure: what comes later on it would be the answer to this.
        let mut link = self.take_link()?;
        let reply = link.ask(command)?;
        if let Reply::Error(error) = &reply {
            self.link = Some(link);
            return Err(Failure::Server(replies::explained(error)));
        }
        if !wanted(&reply) {
            return Err(replies::unexpected(&reply));
        }
        self.link = Some(link);
        Ok(())
    }

    fn take_link(&mut self) -> Result<Link, Failure> {
        match self.link.take() {
            Some(link) => Ok(link),
            None => Link::open(self.serving, &self.greeting),
        }
    }

    fn role(&self, member: u32) -> Result<Role, Failure> {
        let reply = Link::open(member, &self.greeting)?.ask(&command(&[b"ROLE"]))?;
        Ok(replies::role(&reply))
    }

    /// Removes all keys of this driver from a member.
    fn remove_keys(&self, member: u32) -> Result<(), Failure> {
        let mut link = Link::open(member, &self.greeting)?;
        let mut cursor = b"0".to_vec();
        loop {
            let found = link.scan(&cursor)?;
            if found.count > 0 {
                replies::without_error(link.ask(&commands::unlink(&found))?)?;
            }
            if found.cursor == b"0" {
                return Ok(());
            }
            cursor = found.cursor;
        }
    }
}
