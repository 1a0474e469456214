//! The driver `tcp-echo`: sends bytes over TCP and wants exactly them back, from any server that echoes.
//! Each message has its number in front, so that an answer to an earlier one is told apart. No settings.
//!
//! A value of more than 32 KiB goes in pieces, each of which comes back before the next is sent: its time is
//! that of several round trips.

mod message;

use faultd_plugin_sdk::driver::{Driver, Failure, Operation, Outcome, Role, Settings, outcome};
use faultd_plugin_sdk::random::Random;
use faultd_plugin_sdk::stream::Stream;
use faultd_plugin_sdk::{export_driver, settings};

use crate::message::{Message, PIECE_BYTES};

/// One client.
struct EchoClient {
    members: usize,
    serving: u32,
    message: Message,
    /// Missing until the first operation and after a failure.
    stream: Option<Stream>,
}

export_driver!(EchoClient);

impl Driver for EchoClient {
    fn start(settings: Settings) -> Result<Self, String> {
        let [] = settings::read(&settings.settings, [])?;
        Ok(Self {
            members: settings.members.len(),
            serving: settings.serving,
            message: Message::new(&Random::from_host().bytes(settings.value_bytes)),
            stream: None,
        })
    }

    /// There is nothing that could be read.
    fn fill(&mut self, _first: u64, _count: u64) -> Result<(), String> {
        Ok(())
    }

    fn operate(&mut self, _operation: Operation) -> Outcome {
        outcome("echo", self.echo())
    }

    fn roles(&mut self) -> Result<Vec<Role>, String> {
        Ok(vec![Role::Unknown; self.members])
    }
}

impl EchoClient {
    fn echo(&mut self) -> Result<(), Failure> {
        // Taken out, so that it is dropped with any failure: bytes may still come on it.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => Stream::open(self.serving)?,
        };
        // Two ends that both write more than fits between them, and do not read, would wait for each other
        // forever: no more than a piece is under way.
        for piece in self.message.numbered().chunks(PIECE_BYTES) {
            stream.write(piece)?;
            let echo = stream.read_exact(piece.len())?;
            message::compare(piece, echo).map_err(Failure::Server)?;
        }
        self.stream = Some(stream);
        Ok(())
    }
}
