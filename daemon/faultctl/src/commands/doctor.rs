//! `faultctl doctor`: what this kernel and host can do, what is left over, and what is wrong with what to do.

use faultd_api::{
    dictionary,
    doctor::{DoctorReport, Problem, Severity},
    proxy::ManagerProxy,
};

use super::{
    doctor_alone,
    several::{self, Answers, Hosts, OnHost},
};
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    output::{Format, table},
};

pub(crate) const EXAMPLES: &str = "Examples:
  faultctl doctor
  faultctl doctor -o json
  faultctl --bus system doctor";

pub(crate) async fn doctor(bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let answer = match bus.connect().await {
        Ok(manager) => manager.doctor().await.map_err(CommandError::from),
        Err(error) => Err(error),
    };
    match answer {
        Ok(report) => {
            let report: DoctorReport = dictionary::decode(report)?;
            output.one("doctor", &report, text)?;
            verdict(&report)
        }
        Err(error) if error.means_no_daemon() => {
            doctor_alone::report(bus, output)?;
            Err(error)
        }
        Err(error) => Err(error),
    }
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

/// What is missing may well be so, and what is left over may be another faultd's: these are warnings. An error is a
/// failed check.
fn verdict(report: &DoctorReport) -> Result<(), CommandError> {
    match report.problems.iter().find(|problem| problem.severity == Severity::Error) {
        Some(Problem { what, fix, .. }) => Err(CommandError::CheckFailed(format!("{what}; {fix}"))),
        None => Ok(()),
    }
}

/// What is wrong, each with what to do below it.
pub(super) fn problems_text(problems: &[Problem]) -> String {
    let lines =
        |Problem { severity, what, fix }: &Problem| format!("{}: {what}\n  fix: {fix}", severity.text());
    match problems {
        [] => "problems: none".to_owned(),
        problems => format!("problems:\n{}", problems.iter().map(lines).collect::<Vec<_>>().join("\n")),
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
        problems_text(&report.problems),
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
    use faultd_api::doctor::Choice;

    use super::*;

    fn report(problems: Vec<Problem>) -> DoctorReport {
        let choice = Choice { fault: "delay".into(), backend: "relay".into(), reason: "no fq here".into() };
        DoctorReport {
            version: "0.1.0".into(),
            kernel: "6.1.0".into(),
            checks: Vec::new(),
            choices: vec![choice],
            recovered: vec!["tap f1".into()],
            leftovers: Vec::new(),
            problems,
        }
    }

    #[test]
    fn an_error_fails_the_check_with_its_fix_and_a_warning_does_not() {
        let (warning, error) = (Problem::warning("no fq", "modprobe"), Problem::error("no root", "use sudo"));
        assert!(verdict(&report(Vec::new())).is_ok());
        assert!(verdict(&report(vec![warning.clone()])).is_ok());
        let failed = verdict(&report(vec![warning, error])).unwrap_err();
        assert_eq!(failed.to_string(), "no root; use sudo");
    }

    #[test]
    fn the_text_says_what_was_recovered_and_that_nothing_is_left() {
        let text = text(&report(vec![Problem::warning("no fq", "modprobe")]));
        assert!(text.starts_with("faultd 0.1.0 on Linux 6.1.0\n"), "{text}");
        assert!(text.contains("recovered at the start of the daemon:\n  tap f1\n"), "{text}");
        assert!(text.contains("left over: nothing\n"), "{text}");
        assert!(text.ends_with("problems:\nwarning: no fq\n  fix: modprobe"), "{text}");
    }
}
