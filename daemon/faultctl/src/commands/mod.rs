//! One noun, one file. Each verb asks the daemon, and prints what it answered.

pub(crate) mod completions;
pub(crate) mod doctor;
mod doctor_alone;
pub(crate) mod documents;
pub(crate) mod fault;
pub(crate) mod lab;
pub(crate) mod plugin;
pub(crate) mod results;
pub(crate) mod run;
mod run_plan;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod search;
pub(crate) mod target;
mod tool_output;

use faultd_api::dictionary::{self, Dictionary, DictionaryError};
use serde::de::DeserializeOwned;

use crate::{
    cli::{Cli, Noun},
    command_error::CommandError,
};

/// Carries the command out.
///
/// # Errors
/// With what is to be said and the exit code; see [`CommandError`].
pub(crate) async fn dispatch(cli: Cli) -> Result<(), CommandError> {
    let Cli { output, bus, noun } = cli;
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
    }
}

fn decode_all<T: DeserializeOwned>(dictionaries: Vec<Dictionary>) -> Result<Vec<T>, DictionaryError> {
    dictionaries.into_iter().map(dictionary::decode).collect()
}
