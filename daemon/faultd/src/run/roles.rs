//! Watches who leads while a run goes on: changes are events, and the present state a metric.

use std::{convert::Infallible, time::Duration};

use faultd_plugin_host::MemberRole;
use faultd_results::event::EventKind;
use tokio::{sync::watch, time::sleep};

use super::record::RunRecord;
use crate::{
    cluster::{RoleObserver, role_text},
    metrics::{Metrics, RoleMetrics},
};

/// Often enough to see a change of leader in its second, seldom enough to be no load.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Watches until it is dropped; it never ends by itself. Changes are told to who listens at `told`.
pub async fn watch_roles(
    cluster: &str,
    observer: &mut RoleObserver,
    at_start: &[MemberRole],
    record: &RunRecord,
    metrics: &Metrics,
    told: &watch::Sender<Vec<MemberRole>>,
) -> Infallible {
    let mut known = at_start.to_vec();
    let mut shown = metrics.roles(cluster);
    show(&known, &mut shown);
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
            show(&roles, &mut shown);
            told.send_replace(roles.clone());
            known = roles;
        }
    }
}

fn show(roles: &[MemberRole], shown: &mut RoleMetrics) {
    for role in roles {
        shown.set(&role.member, role_text(role.role));
    }
}
