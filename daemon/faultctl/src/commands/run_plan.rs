//! `faultctl run --dry-run`: what a run would do, and to whom. Nothing is changed, and nothing is measured.

use faultd_api::{
    dictionary,
    fault::{FaultPlan, FaultRequest},
    lab::{LabStatus, MemberStatus},
    proxy::ManagerProxy,
    run::RunRequest,
    target::{SelectRequest, SelectedTargets},
    units::duration_text,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{decode_all, fault::plans_table, other_machines::OtherMachines, several::OnHost};
use crate::{command_error::CommandError, connection::BusAddress, output::Format};

/// A run that could be.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunPlan {
    /// The cluster.
    cluster: String,
    /// Its members, by the names that faults have for them.
    members: Vec<String>,
    /// The label in the name of its folder.
    label: String,
    /// What would be made slow, as it was asked for; missing for a baseline.
    target: Option<String>,
    /// The plugin that says when faults hold.
    schedule: String,
    /// Load before the measured time, in nanoseconds.
    warm_up_ns: u64,
    /// Measured time, in nanoseconds.
    duration_ns: u64,
    /// When the fault would begin, from the start of the measured time; missing for its start.
    inject_at_ns: Option<u64>,
    /// For how long it would hold; missing for until the end.
    hold_for_ns: Option<u64>,
    /// The fault on each member that may be meant: the run has it on the first that has the role when it begins.
    faults: Vec<FaultPlan>,
    /// The fault on other machines, for the same time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also_on: Vec<OnHost<FaultPlan>>,
}

/// A member as a plan needs it.
struct Member {
    /// As faults name it.
    target: String,
    /// `leader`, `follower`, or `unknown`.
    role: String,
    name: String,
}

/// Asks for the plan of a run, and prints it.
///
/// # Errors
/// What is wrong with it, as it would be without a dry run, as far as that is known before it begins.
pub(super) async fn show(
    request: &RunRequest,
    others: OtherMachines,
    bus: &BusAddress,
    output: Format,
) -> Result<(), CommandError> {
    let manager = bus.connect().await?;
    let members = members(&manager, request).await?;
    let mut faults = Vec::new();
    if let Some(asked) = &request.target {
        for target in meant(asked, &members)? {
            let fault = dictionary::encode(&fault_on(target, request))?;
            faults.push(dictionary::decode(manager.plan_fault(fault).await?)?);
        }
    }
    let plan = RunPlan {
        cluster: request.cluster.clone(),
        members: members.into_iter().map(|member| member.target).collect(),
        label: request.label.clone(),
        target: request.target.clone(),
        schedule: request.schedule.clone(),
        warm_up_ns: request.warm_up_ns,
        duration_ns: request.duration_ns,
        inject_at_ns: request.inject_at_ns,
        hold_for_ns: request.hold_for_ns,
        faults,
        also_on: others.into_plans(),
    };
    output.one("run-plan", &plan, text)
}

async fn members(manager: &ManagerProxy<'_>, request: &RunRequest) -> Result<Vec<Member>, CommandError> {
    if let Some(containers) = &request.containers {
        let selectors: Vec<&str> = containers.members.iter().map(String::as_str).collect();
        let options = dictionary::encode(&SelectRequest::default())?;
        let selected = manager.select_targets(&selectors, options).await?;
        let SelectedTargets { targets, .. } = dictionary::decode(selected)?;
        // Their driver knows the roles, once the run has begun.
        let member = |target: String| Member { name: target.clone(), target, role: "unknown".to_owned() };
        return Ok(targets.into_iter().map(member).collect());
    }
    let labs: Vec<LabStatus> = decode_all(manager.list_labs().await?)?;
    let lab = labs.into_iter().find(|lab| lab.name == request.cluster).ok_or_else(|| {
        CommandError::NotFound(format!(
            "no cluster is named '{}'; bring one up with 'faultctl lab up workloads/etcd', or see 'faultctl lab status'",
            request.cluster
        ))
    })?;
    let member = |MemberStatus { name, role, .. }: MemberStatus| Member {
        target: format!("{}/{name}", lab.name),
        role,
        name,
    };
    Ok(lab.members.into_iter().map(member).collect())
}

/// The members that may be meant: one with the role; those whose role is not known; or the one of that name.
fn meant<'a>(asked: &str, members: &'a [Member]) -> Result<Vec<&'a str>, CommandError> {
    let role = asked.split(':').next().unwrap_or_default();
    let is_meant = |member: &&Member| match role {
        "leader" | "follower" => member.role == role || member.role == "unknown",
        "member" => true,
        _ => member.name == asked || member.target == asked,
    };
    let found: Vec<&str> = members.iter().filter(is_meant).map(|member| member.target.as_str()).collect();
    if found.is_empty() {
        let names: Vec<String> =
            members.iter().map(|member| format!("{} ({})", member.name, member.role)).collect();
        return Err(CommandError::NotFound(format!(
            "the cluster has no {asked}: its members are {}",
            names.join(", ")
        )));
    }
    Ok(found)
}

/// The fault of a run as a fault by itself.
fn fault_on(target: &str, request: &RunRequest) -> FaultRequest {
    FaultRequest {
        hold_for_ns: Some(request.hold_for_ns.unwrap_or(request.duration_ns)),
        detach: true,
        ..request.fault_on(target)
    }
}

fn text(plan: &RunPlan) -> String {
    let from = duration_text(plan.inject_at_ns.unwrap_or_default());
    let until = plan
        .hold_for_ns
        .map_or_else(|| "to the end".to_owned(), |held| format!("for {}", duration_text(held)));
    let mut lines = vec![
        format!("run {} on {} ({})", plan.label, plan.cluster, plan.members.join(", ")),
        format!("  warm-up   {}", duration_text(plan.warm_up_ns)),
        format!("  measured  {}", duration_text(plan.duration_ns)),
        format!("  schedule  {}", plan.schedule),
    ];
    match &plan.target {
        None => lines.push("  fault     none: a baseline".to_owned()),
        Some(target) => lines.push(format!("  fault     on {target}, from {from} {until}, on one of:")),
    }
    let elsewhere = |OnHost { host, value }: &OnHost<FaultPlan>| {
        format!("  also on   {host}: {}, {}", value.target, value.text)
    };
    lines.extend(plan.also_on.iter().map(elsewhere));
    if !plan.faults.is_empty() {
        lines.push(String::new());
        lines.push(plans_table(&plan.faults));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, role: &str) -> Member {
        Member { target: format!("etcd/{name}"), role: role.into(), name: name.into() }
    }

    #[test]
    fn a_role_means_those_who_have_it_and_those_who_may() {
        let members = [member("a", "follower"), member("b", "leader"), member("c", "follower")];
        assert_eq!(meant("leader", &members).unwrap(), ["etcd/b"]);
        assert_eq!(meant("follower:serving", &members).unwrap(), ["etcd/a", "etcd/c"]);
        assert_eq!(meant("etcd/c", &members).unwrap(), ["etcd/c"]);
        assert_eq!(meant("member", &members).unwrap().len(), 3);
        assert_eq!(meant("leader", &[member("a", "unknown")]).unwrap(), ["etcd/a"]);
        let nobody = meant("d", &members).unwrap_err().to_string();
        assert_eq!(nobody, "the cluster has no d: its members are a (follower), b (leader), c (follower)");
    }
}
