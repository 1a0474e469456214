//! The program that logs in on another machine and starts our other end there: started, listened to, and ended with us.

use std::{
    io::{self, BufRead, BufReader},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use faultd_api::error::exit;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::Host;
use crate::{command_error::CommandError, output::say};

/// What logs in.
const LOGIN: (&str, &str) = ("FAULTD_SSH", "ssh");
/// Our other end.
const OTHER_END: (&str, &str) = ("FAULTD_REMOTE_FAULTCTL", "faultctl");

/// How long a program may take to end when its connection has.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// More lines than that are told at once, whatever comes.
const MOST_LINES: usize = 100;
/// What a shell says of a program that is not there.
const NO_SUCH_PROGRAM: i32 = 127;

/// A program that runs. It is ended when this is dropped.
#[derive(Debug)]
pub(super) struct Bridge {
    host: Host,
    child: Mutex<Child>,
    talk: Talk,
}

impl Bridge {
    /// Starts the program; answers the stream to the other end too.
    ///
    /// # Errors
    /// When it is not there, or the system refuses.
    pub(super) fn start(host: &Host, bus: Option<&str>) -> Result<(Arc<Self>, UnixStream), CommandError> {
        let program = word(LOGIN);
        let failed = |error: io::Error| {
            let (variable, _) = LOGIN;
            let reason =
                format!("cannot start '{program}': {error}; install it, or name another with {variable}");
            CommandError::Remote { host: host.to_string(), reason, code: exit::NO_DAEMON }
        };
        let (here, there) = UnixStream::pair().map_err(failed)?;
        let mut child =
            command(&program, host, bus, there).and_then(|mut ready| ready.spawn()).map_err(failed)?;
        let talk = Talk::listen(host.to_string(), child.stderr.take());
        Ok((Arc::new(Self { host: host.clone(), child: Mutex::new(child), talk }), here))
    }

    /// The other end has answered: what is said from now on is no reason for anything.
    pub(super) fn is_up(&self) {
        self.talk.tell_all();
    }

    /// Why the other end does not answer, in one line: the last that was said. The others are told before.
    pub(super) async fn why_not(&self, error: &zbus::Error) -> CommandError {
        let mut waited = Duration::ZERO;
        while (self.status().is_none() || !self.talk.is_over()) && waited < ENDS_WITHIN {
            sleep(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
        let status = self.status();
        let reason = match (self.talk.last(), status) {
            (Some(line), _) => line,
            (None, Some(status)) => format!("{} ended with {status}", word(LOGIN)),
            (None, None) => format!("what answers there is no faultctl ({error})"),
        };
        let code = status.and_then(|status| status.code());
        let reason = match code {
            Some(NO_SUCH_PROGRAM) => {
                format!("{reason}; install faultctl there, or name it with {}", OTHER_END.0)
            }
            _ => reason,
        };
        let denied = i32::from(exit::DENIED);
        let code = if code == Some(denied) { exit::DENIED } else { exit::NO_DAEMON };
        CommandError::Remote { host: self.host.to_string(), reason, code }
    }

    fn status(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten()
    }

    fn has_ended_within(&self, time: Duration) -> bool {
        let mut waited = Duration::ZERO;
        while self.status().is_none() && waited < time {
            thread::sleep(LOOK_EVERY);
            waited += LOOK_EVERY;
        }
        self.status().is_some()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.talk.tell_all();
        if self.status().is_some() {
            return;
        }
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // One that has just ended needs no signal: it is waited for in any case.
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
        if !self.has_ended_within(ENDS_WITHIN) {
            let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What an environment variable says, or what is usual.
fn word((variable, usual): (&str, &str)) -> String {
    std::env::var(variable).ok().filter(|word| !word.is_empty()).unwrap_or_else(|| usual.to_owned())
}

/// Nothing of it is a user's text but the host, which has been checked, and what the environment names.
#[expect(
    clippy::disallowed_methods,
    reason = "the one way to another machine, as systemctl and busctl have it"
)]
fn command(program: &str, host: &Host, bus: Option<&str>, stream: UnixStream) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.args(["-x", "-T"]);
    if let Some(port) = host.port {
        command.arg("-p").arg(port.to_string());
    }
    command.args(["--", &host.destination, &word(OTHER_END), "stdio-bridge"]);
    if let Some(bus) = bus {
        command.args(["--bus", bus]);
    }
    let stream = OwnedFd::from(stream);
    command.stdin(stream.try_clone()?).stdout(stream).stderr(Stdio::piped());
    Ok(command)
}

/// What the program and the other end say to people.
#[derive(Debug)]
struct Talk {
    heard: Arc<Mutex<Heard>>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Heard {
    host: String,
    /// Lines that may turn out to be the reason of a failure.
    kept: Vec<String>,
    keeps: bool,
}

impl Talk {
    fn listen(host: String, said: Option<ChildStderr>) -> Self {
        let heard = Arc::new(Mutex::new(Heard { host, kept: Vec::new(), keeps: true }));
        let listener = said.map(|said| {
            let heard = Arc::clone(&heard);
            thread::spawn(move || {
                for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                    heard.lock().unwrap_or_else(PoisonError::into_inner).hear(line);
                }
            })
        });
        Self { heard, listener }
    }

    /// Whether nobody can say anything any more.
    fn is_over(&self) -> bool {
        self.listener.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn tell_all(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).tell_all();
    }

    /// The last line, without the name of who said it; those before it are told.
    fn last(&self) -> Option<String> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let last = heard.kept.pop();
        heard.tell_all();
        last.map(|line| line.strip_prefix("faultctl: ").map(str::to_owned).unwrap_or(line))
    }
}

impl Heard {
    fn hear(&mut self, line: String) {
        if line.is_empty() {
            return;
        }
        self.kept.push(line);
        if !self.keeps || self.kept.len() > MOST_LINES {
            self.tell_all();
        }
    }

    fn tell_all(&mut self) {
        self.keeps = false;
        for line in self.kept.drain(..) {
            say(&format!("{}: {line}", self.host));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_fixed_and_the_host_comes_after_the_options() {
        let host: Host = "ann@web1:2222".parse().unwrap();
        let (_here, there) = UnixStream::pair().unwrap();
        let ready = command("ssh", &host, Some("system"), there).unwrap();
        let words: Vec<_> = ready.get_args().map(|word| word.to_str().unwrap()).collect();
        let expected =
            ["-x", "-T", "-p", "2222", "--", "ann@web1", "faultctl", "stdio-bridge", "--bus", "system"];
        assert_eq!(words, expected);
    }

    #[test]
    fn the_last_line_is_the_reason_and_has_no_name_before_it() {
        let heard = Heard {
            host: "web1".to_owned(),
            kept: vec!["Welcome".to_owned(), "faultctl: no daemon".to_owned()],
            keeps: true,
        };
        let talk = Talk { heard: Arc::new(Mutex::new(heard)), listener: None };
        assert_eq!(talk.last().as_deref(), Some("no daemon"));
        assert_eq!(talk.last(), None);
    }
}
