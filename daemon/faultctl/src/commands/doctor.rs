//! `faultctl doctor`: what this kernel and host can do, and what is left over.

use faultd_api::{
    dictionary,
    doctor::{Choice, DoctorReport},
    proxy::ManagerProxy,
};

use super::several::{self, Answers, Hosts, OnHost};
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    output::{Format, table},
};

pub(crate) async fn doctor(bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let report: DoctorReport = dictionary::decode(bus.connect().await?.doctor().await?)?;
    output.one("doctor", &report, text)?;
    verdict(&report)
}

/// The reports of several machines, one after the other.
pub(crate) async fn on_each(hosts: &Hosts, output: Format) -> Result<(), CommandError> {
    let ask = async |manager: &ManagerProxy<'static>| Ok(vec![dictionary::decode(manager.doctor().await?)?]);
    let Answers { given, mut failed } = hosts.ask(ask).await;
    if !given.is_empty() {
        output.many("report", &given, |reports: &[OnHost<DoctorReport>]| {
            let text_of = |on: &OnHost<DoctorReport>| format!("{}: {}", on.host, text(&on.value));
            reports.iter().map(text_of).collect::<Vec<_>>().join("\n\n\n")
        })?;
    }
    let hopeless = |on: &OnHost<DoctorReport>| {
        verdict(&on.value).err().map(|error| CommandError::on_host(&on.host, error))
    };
    failed.extend(given.iter().filter_map(hopeless));
    several::ended(failed)
}

/// What is missing may well be so, and what is left over may be another faultd's; a fault that nothing
/// can carry is a failed check.
fn verdict(report: &DoctorReport) -> Result<(), CommandError> {
    let hopeless = |choice: &&Choice| choice.backend == "none";
    match report.choices.iter().find(hopeless) {
        Some(choice) => {
            Err(CommandError::CheckFailed(format!("nothing here can carry out {}", choice.fault)))
        }
        None => Ok(()),
    }
}

fn text(report: &DoctorReport) -> String {
    let checks =
        report.checks.iter().map(|check| [&check.name, &check.state, &check.detail].map(Clone::clone));
    let choices = report
        .choices
        .iter()
        .map(|choice| [&choice.fault, &choice.backend, &choice.reason].map(Clone::clone));
    let parts = [
        format!("faultd {} on Linux {}", report.version, report.kernel),
        table(["CHECK", "STATE", "DETAIL"], checks),
        table(["FAULT", "BACKEND", "REASON"], choices),
        list("recovered at the start of the daemon", &report.recovered),
        list("left over", &report.leftovers),
    ];
    parts.join("\n\n")
}

fn list(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return format!("{title}: nothing");
    }
    format!("{title}:\n  {}", lines.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(backend: &str, leftovers: Vec<String>) -> DoctorReport {
        let choice = Choice { fault: "delay".into(), backend: backend.into(), reason: "no fq here".into() };
        DoctorReport {
            version: "0.1.0".into(),
            kernel: "6.1.0".into(),
            checks: Vec::new(),
            choices: vec![choice],
            recovered: vec!["tap f1".into()],
            leftovers,
        }
    }

    #[test]
    fn a_fault_without_backend_fails_the_check_and_a_leftover_does_not() {
        assert!(verdict(&report("relay", Vec::new())).is_ok());
        assert!(verdict(&report("none", Vec::new())).is_err());
        assert!(verdict(&report("relay", vec!["namespace x".into()])).is_ok());
    }

    #[test]
    fn the_text_says_what_was_recovered_and_that_nothing_is_left() {
        let text = text(&report("relay", Vec::new()));
        assert!(text.starts_with("faultd 0.1.0 on Linux 6.1.0\n"), "{text}");
        assert!(text.contains("recovered at the start of the daemon:\n  tap f1\n"), "{text}");
        assert!(text.ends_with("left over: nothing"), "{text}");
    }
}
