//! `faultctl fault add --dry-run`: what would be done, and to whom.

use faultd_api::{
    dictionary,
    fault::{Direction, FaultPlan, FaultRequest},
    proxy::ManagerProxy,
    units::duration_text,
};

use crate::{
    command_error::CommandError,
    output::{Format, or_dash, table},
};

/// Asks for the plan of a fault on each of these targets, and prints them.
///
/// # Errors
/// What is wrong with the first that could not be, as it would be without a dry run.
pub(super) async fn show(
    manager: &ManagerProxy<'_>,
    targets: &[String],
    request: &FaultRequest,
    output: Format,
) -> Result<(), CommandError> {
    let mut plans: Vec<FaultPlan> = Vec::new();
    for target in targets {
        let request = FaultRequest { target: target.clone(), ..request.clone() };
        plans.push(dictionary::decode(manager.plan_fault(dictionary::encode(&request)?).await?)?);
    }
    output.many("plan", &plans, plans_table)
}

pub(crate) fn plans_table(plans: &[FaultPlan]) -> String {
    table(HEADER, plans.iter().map(row))
}

pub(super) const HEADER: [&str; 7] =
    ["TARGET", "FAULT", "DIRECTION", "INTERFACES", "BACKEND", "AT MOST", "SPARES"];

pub(super) fn row(plan: &FaultPlan) -> [String; 7] {
    let list = |texts: &[String]| or_dash((!texts.is_empty()).then(|| texts.join(", ")));
    [
        plan.target.clone(),
        plan.text.clone(),
        or_dash(plan.direction.map(Direction::text)),
        list(&plan.interfaces),
        plan.backend.clone(),
        or_dash(plan.hold_for_ns.map(duration_text)),
        list(&plan.spared),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_row_with_what_is_spared() {
        let plan = FaultPlan {
            target: "interface/eth0".into(),
            kind: "delay".into(),
            text: "delay 50ms".into(),
            direction: Some(Direction::Egress),
            interfaces: vec!["eth0".into()],
            backend: "relay".into(),
            backend_reason: "no fq here".into(),
            hold_for_ns: Some(60_000_000_000),
            peers: Vec::new(),
            spared: vec!["port 22".into()],
        };
        let text = plans_table(&[plan]);
        let row = text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(row, "interface/eth0 delay 50ms egress eth0 relay 1m port 22");
    }
}
