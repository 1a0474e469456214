//! Watches who leads while a run goes on: changes are events, and the present state a metric.

use std::time::Duration;

use faultd_plugin_host::MemberRole;
use faultd_results::event::EventKind;
use tokio::time::sleep;

use super::record::RunRecord;
use crate::{
    cluster::{RoleObserver, role_text},
    metrics::Metrics,
};

/// Often enough to see a change of leader in its second, seldom enough to be no load.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Watches until it is dropped.
pub async fn watch_roles(
    cluster: &str,
    mut observer: RoleObserver,
    mut known: Vec<MemberRole>,
    record: &RunRecord,
    metrics: &Metrics,
) {
    show(cluster, &known, metrics);
    loop {
        sleep(ASK_EVERY).await;
        // A cluster that cannot say it now is asked again: silence is no change of role.
        let Ok(roles) = observer.roles().await else { continue };
        for changed in roles.iter().filter(|role| !known.contains(role)) {
            record.event(EventKind::RoleChange {
                member: changed.member.clone(),
                role: role_text(changed.role).to_owned(),
            });
        }
        if roles != known {
            show(cluster, &roles, metrics);
            known = roles;
        }
    }
}

fn show(cluster: &str, roles: &[MemberRole], metrics: &Metrics) {
    for role in roles {
        metrics.set_role(cluster, &role.member, role_text(role.role));
    }
}
