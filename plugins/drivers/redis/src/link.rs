//! A connection to one member: who we are is said first, then one reply comes for each command.

use faultd_plugin_sdk::driver::Failure;
use faultd_plugin_sdk::stream::Stream;

use crate::commands::{self, command};
use crate::replies::{self, Found, Reply, Source};

/// What is said at the beginning of each connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Greeting {
    commands: Vec<Vec<u8>>,
}

impl Greeting {
    /// From the settings of the user.
    pub fn new(user: Option<&str>, password: Option<&str>, database: Option<&str>) -> Result<Self, String> {
        let mut commands = Vec::new();
        match (user, password) {
            (None, None) => {}
            (None, Some(password)) => commands.push(command(&[b"AUTH", password.as_bytes()])),
            (Some(user), Some(password)) => {
                commands.push(command(&[b"AUTH", user.as_bytes(), password.as_bytes()]));
            }
            (Some(_), None) => return Err("setting user needs the setting password".to_owned()),
        }
        if let Some(database) = database {
            let number = database
                .parse::<u32>()
                .map_err(|_| format!("setting database is the number of a database, not {database:?}"))?;
            commands.push(command(&[b"SELECT", number.to_string().as_bytes()]));
        }
        Ok(Self { commands })
    }
}

/// An open connection.
pub struct Link {
    stream: Stream,
}

impl Link {
    /// Connects and greets.
    pub fn open(member: u32, greeting: &Greeting) -> Result<Self, Failure> {
        let mut link = Self { stream: Stream::open(member)? };
        for command in &greeting.commands {
            replies::without_error(link.ask(command)?)?;
        }
        Ok(link)
    }

    /// Sends a command and waits for its reply, which may be an error. After a failure nothing more can be
    /// asked here: the reply may still come.
    pub fn ask(&mut self, command: &[u8]) -> Result<Reply, Failure> {
        self.stream.write(command)?;
        Reply::read(&mut self.stream)
    }

    /// One step through the keys of this driver.
    pub fn scan(&mut self, cursor: &[u8]) -> Result<Found, Failure> {
        self.stream.write(&commands::scan(cursor))?;
        Found::read(&mut self.stream)
    }
}

impl Source for Stream {
    fn line(&mut self, longest: usize) -> Result<&[u8], Failure> {
        Self::line(self, longest)
    }

    fn exactly(&mut self, count: usize) -> Result<&[u8], Failure> {
        self.read_exact(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_says_who_and_where() {
        assert_eq!(Greeting::new(None, None, None), Ok(Greeting::default()));
        let greeting = Greeting::new(Some("u"), Some("p"), Some("3")).unwrap();
        let auth = command(&[b"AUTH", b"u", b"p"]);
        assert_eq!(greeting.commands, [auth, command(&[b"SELECT", b"3"])]);
        let greeting = Greeting::new(None, Some("p"), None).unwrap();
        assert_eq!(greeting.commands, [command(&[b"AUTH", b"p"])]);
    }

    #[test]
    fn settings_that_make_no_greeting_are_refused() {
        assert!(Greeting::new(Some("u"), None, None).unwrap_err().contains("needs the setting password"));
        assert!(Greeting::new(None, None, Some("-1")).unwrap_err().contains(r#"not "-1""#));
    }
}
