//! One noun, one file. Each verb asks the daemon, and prints what it answered.

pub(crate) mod completions;
pub(crate) mod doctor;
mod doctor_alone;
pub(crate) mod documents;
pub(crate) mod fault;
pub(crate) mod lab;
mod other_machines;
pub(crate) mod plugin;
pub(crate) mod results;
pub(crate) mod run;
mod run_plan;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod search;
mod several;
pub(crate) mod target;
mod tool_output;

use faultd_api::dictionary::{self, Dictionary, DictionaryError};
use serde::de::DeserializeOwned;

use self::several::Hosts;
use crate::{
    cli::{Cli, Noun},
    command_error::CommandError,
    remote,
};

/// Carries the command out.
///
/// # Errors
/// With what is to be said and the exit code; see [`CommandError`].
pub(crate) async fn dispatch(cli: Cli) -> Result<(), CommandError> {
    let Cli { output, bus, hosts, bus_is_given, noun } = cli;
    if matches!(noun, Noun::StdioBridge) {
        return remote::serve(&bus);
    }
    // Some words are about faultctl itself, wherever a session asks its daemons.
    let hosts = if noun.asks_nobody() { Vec::new() } else { hosts };
    if !hosts.is_empty() {
        several::refuse_what_stays_here(&noun)?;
    }
    let mut hosts = Hosts::new(hosts, bus_is_given.then_some(&bus))?;
    let bus = match hosts.pop_only() {
        Some(only) => only,
        None if hosts.is_empty() => bus,
        None => return several::dispatch(noun, &hosts, output).await,
    };
    match noun {
        Noun::Doctor => doctor::doctor(&bus, output).await,
        Noun::Target(verb) => target::target(verb, &bus, output).await,
        Noun::Fault(verb) => fault::fault(verb, &bus, output).await,
        Noun::Lab(verb) => lab::lab(verb, &bus, output).await,
        Noun::Run(arguments) => run::run(*arguments, &bus, output).await,
        Noun::Search(arguments) => search::search(*arguments, &bus, output).await,
        Noun::Results(verb) => results::results(verb, output),
        Noun::Plugin(verb) => plugin::plugin(verb, &bus, output).await,
        Noun::Runs(verb) => runs::runs(verb, &bus, output).await,
        Noun::Completions { shell } => completions::completions(shell),
        Noun::Schema { name } => schema::schema(name.as_deref(), output),
        Noun::Documents(arguments) => documents::documents(&arguments),
        Noun::StdioBridge => Ok(()),
    }
}

fn decode_all<T: DeserializeOwned>(dictionaries: Vec<Dictionary>) -> Result<Vec<T>, DictionaryError> {
    dictionaries.into_iter().map(dictionary::decode).collect()
}
