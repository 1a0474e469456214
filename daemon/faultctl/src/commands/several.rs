//! Several machines: the same question to each of them, and their answers in one table or document.

use faultd_api::proxy::ManagerProxy;
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;

use super::{doctor, fault, plugin::PluginVerb, target};
use crate::{
    cli::Noun,
    command_error::CommandError,
    connection::BusAddress,
    output::{Format, wide_table},
    remote::{Host, Remote},
};

/// The machines that were named.
pub(crate) struct Hosts {
    remotes: Vec<Remote>,
}

/// Something of one of several machines.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OnHost<T> {
    /// The machine as it was named.
    pub(crate) host: String,
    #[serde(flatten)]
    pub(crate) value: T,
}

/// What the machines answered, and what went wrong on the others.
pub(crate) struct Answers<T> {
    pub(crate) given: Vec<OnHost<T>>,
    pub(crate) failed: Vec<CommandError>,
}

impl Hosts {
    /// The machines, each with the bus that was named for there.
    ///
    /// # Errors
    /// When that cannot be said there.
    pub(super) fn new(hosts: Vec<Host>, bus: Option<&BusAddress>) -> Result<Self, CommandError> {
        let twice = hosts
            .iter()
            .enumerate()
            .find(|(number, host)| hosts.iter().take(*number).any(|one| one == *host));
        if let Some((_, host)) = twice {
            return Err(CommandError::Usage(format!("-H: '{host}' is named twice")));
        }
        let remotes = hosts.into_iter().map(|host| Remote::new(host, bus)).collect::<Result<_, _>>()?;
        Ok(Self { remotes })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remotes.is_empty()
    }

    /// The machine, where it is a single one.
    pub(super) fn pop_only(&mut self) -> Option<BusAddress> {
        match self.remotes.as_slice() {
            [_only] => self.remotes.pop().map(|only| BusAddress::Remote(Box::new(only))),
            _ => None,
        }
    }

    /// Connects to all of them.
    ///
    /// # Errors
    /// When one of them cannot be reached.
    pub(super) async fn connect(&self) -> Result<Vec<(String, ManagerProxy<'static>)>, CommandError> {
        let connect = async |remote: &Remote| Ok((remote.host.to_string(), connect(remote).await?));
        join_all(self.remotes.iter().map(connect)).await.into_iter().collect()
    }

    /// Asks all of them at once; those that fail keep nobody from answering.
    pub(super) async fn ask<T>(
        &self,
        ask: impl AsyncFn(&ManagerProxy<'static>) -> Result<Vec<T>, CommandError>,
    ) -> Answers<T> {
        let ask = async |remote: &Remote| {
            let answer = match connect(remote).await {
                Ok(manager) => ask(&manager).await,
                Err(error) => Err(error),
            };
            (remote.host.to_string(), answer)
        };
        let mut answers = Answers { given: Vec::new(), failed: Vec::new() };
        for (host, answer) in join_all(self.remotes.iter().map(ask)).await {
            match answer {
                Ok(values) => {
                    answers
                        .given
                        .extend(values.into_iter().map(|value| OnHost { host: host.clone(), value }));
                }
                Err(error) => answers.failed.push(CommandError::on_host(&host, error)),
            }
        }
        answers
    }
}

async fn connect(remote: &Remote) -> Result<ManagerProxy<'static>, CommandError> {
    BusAddress::Remote(Box::new(remote.clone())).connect().await
}

impl<T: Serialize> Answers<T> {
    /// Prints what was answered, and ends with what went wrong.
    ///
    /// # Errors
    /// What went wrong first; the rest is told before.
    pub(super) fn show<const COLUMNS: usize>(
        self,
        kind: &str,
        output: Format,
        header: [&str; COLUMNS],
        row: impl Fn(&T) -> [String; COLUMNS],
    ) -> Result<(), CommandError> {
        let Self { given, failed } = self;
        if !given.is_empty() || failed.is_empty() {
            output.many(kind, &given, |given| host_table(header, given, row))?;
        }
        ended(failed)
    }
}

/// A table with the machine before everything else.
pub(super) fn host_table<T, const COLUMNS: usize>(
    header: [&str; COLUMNS],
    values: &[OnHost<T>],
    row: impl Fn(&T) -> [String; COLUMNS],
) -> String {
    let rows = values.iter().map(|on| std::iter::once(on.host.clone()).chain(row(&on.value)));
    wide_table(std::iter::once("HOST").chain(header), rows)
}

/// A failure is one line; with more than one, each is.
pub(super) fn ended(failed: Vec<CommandError>) -> Result<(), CommandError> {
    let mut failed = failed.into_iter();
    let Some(first) = failed.next() else { return Ok(()) };
    // Each says its line; the last one that is said is the one that is returned.
    for error in failed {
        let _ = error.report();
    }
    Err(first)
}

/// What can be asked of several machines at once.
///
/// # Errors
/// When it is something else, or what went wrong.
pub(super) async fn dispatch(noun: Noun, hosts: &Hosts, output: Format) -> Result<(), CommandError> {
    match noun {
        Noun::Doctor => doctor::on_each(hosts, output).await,
        Noun::Target(target::TargetVerb::Ls) => target::on_each(hosts, output).await,
        Noun::Fault(verb) => fault::on_each(verb, hosts, output).await,
        _ => Err(only_one()),
    }
}

/// For what is about one machine.
pub(super) fn only_one() -> CommandError {
    CommandError::Usage(
        "several -H are for doctor, target ls, fault ls, fault clear and fault add: give one of them"
            .to_owned(),
    )
}

/// Files are handed to a daemon as open descriptors, which cannot travel to another machine; results and crates are on
/// this one in any case.
///
/// # Errors
/// With what to do instead.
pub(super) fn refuse_what_stays_here(noun: &Noun) -> Result<(), CommandError> {
    let reason = match noun {
        Noun::Run(_) | Noun::Search(_) => {
            "a run leaves its folder where its daemon is: make it there, as in 'ssh HOST faultctl run ...'"
        }
        Noun::Results(_) => {
            "results are files of this machine: copy them here and leave -H, or FAULTD_HOST, out"
        }
        Noun::Plugin(PluginVerb::New { .. } | PluginVerb::Build { .. }) => {
            "plugins are made on this machine: leave -H, or FAULTD_HOST, out"
        }
        Noun::Plugin(verb) if verb.hands_over_a_file() => {
            "a file cannot be handed to another machine: call faultctl there, or leave -H, or FAULTD_HOST, out"
        }
        _ => return Ok(()),
    };
    Err(CommandError::Usage(reason.to_owned()))
}
