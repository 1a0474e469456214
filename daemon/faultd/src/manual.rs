//! The manual page `faultd.8`: the options as `--help` has them, and what a daemon's page is looked up for besides.

use std::{fs, io, path::Path};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};
use faultd_api::names;

const FILE_NAME: &str = "faultd.8";

/// Writes the page of the program with these options into a directory.
///
/// # Errors
/// When the file cannot be written.
pub fn write(options: Command, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join(FILE_NAME), page(options)?)
}

fn page(options: Command) -> io::Result<Vec<u8>> {
    let manual = Man::new(options).section("8").manual("System administration");
    let mut page = Vec::new();
    manual.render_title(&mut page)?;
    manual.render_name_section(&mut page)?;
    manual.render_synopsis_section(&mut page)?;
    manual.render_description_section(&mut page)?;
    manual.render_options_section(&mut page)?;
    for (heading, entries) in sections() {
        section(heading, &entries).to_writer(&mut page)?;
    }
    Ok(page)
}

/// A heading, and what is told below it: names and what they mean.
type Section = (&'static str, Vec<(String, &'static str)>);

fn sections() -> Vec<Section> {
    let entry = |name: &str, meaning| (name.to_owned(), meaning);
    let files = vec![
        entry(names::DEFAULT_POLICY, "what the operator allows; it need not be there"),
        entry(names::DEFAULT_SOCKET, "where callers connect"),
        (
            format!("{}/audit.jsonl", names::DEFAULT_STATE_DIRECTORY),
            "who changed what, a line of JSON for each call; audit.1.jsonl is the file before",
        ),
        (
            format!("{}/labs", names::DEFAULT_STATE_DIRECTORY),
            "the labs that are up, and the logs of their members",
        ),
        entry(names::DEFAULT_PLUGIN_DIRECTORY, "plugins"),
        entry(names::DEFAULT_CACHE_DIRECTORY, "compiled plugins, which may be removed at any time"),
    ];
    let signals = vec![
        entry(
            "SIGHUP",
            "the policy is read anew and holds for everything that is asked for from then on; one that cannot be read \
             changes nothing. What plugins may do is taken over at the next start",
        ),
        entry("SIGTERM, SIGINT", "runs are ended, faults are cleared, labs stay; then the daemon ends"),
    ];
    let environment = vec![
        entry("DOCKER_HOST", "where the container engine listens; otherwise at the usual sockets"),
        entry("RUST_LOG", "what is logged: error, warn, info (the default), debug or trace"),
        entry(
            "NOTIFY_SOCKET, WATCHDOG_USEC, JOURNAL_STREAM",
            "set by a service manager, which is told when the daemon is ready, and as long as it is alive",
        ),
    ];
    let statuses = vec![
        entry("0", "asked to end, and ended in order"),
        entry("1", "could not start, or not clean up; the reason is on stderr"),
        entry("2", "an option that is not known or means nothing"),
    ];
    vec![("FILES", files), ("SIGNALS", signals), ("ENVIRONMENT", environment), ("EXIT STATUS", statuses)]
}

fn section(heading: &str, entries: &[(String, &str)]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (name, meaning) in entries {
        roff.control("TP", []);
        roff.text([bold(name.as_str())]);
        roff.text([roman(*meaning)]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_options_and_what_they_do_not_say() {
        let options =
            Command::new("faultd").about("Makes hosts slow").arg(clap::arg!(--socket <PATH> "Where"));
        let page = String::from_utf8(page(options).unwrap()).unwrap();
        assert!(page.contains(".TH faultd 8"), "{page}");
        for said in
            ["socket", ".SH FILES", "/etc/faultd/policy.toml", ".SH SIGNALS", "SIGHUP", ".SH \"EXIT STATUS\""]
        {
            assert!(page.contains(said), "no {said}: {page}");
        }
    }
}
