//! What an earlier life of the daemon left: a lab that is whole is taken over, any other is removed.

use std::sync::Arc;

use faultd_kernel::{kill_points, namespace};

use super::{
    Lab, LabError, Labs, Slot, cluster_of, description::LabDescription, is_running, record::LabRecord,
};

/// Takes over or removes every lab that has a record; answers what was found, one line each.
///
/// # Errors
/// When the records cannot be listed.
pub async fn recover(labs: &Labs) -> std::io::Result<Vec<String>> {
    let unwritten = LabRecord::remove_unwritten(&labs.shared.labs_directory)?;
    let mut report: Vec<String> = unwritten
        .into_iter()
        .map(|name| format!("lab {name}: nothing of it was made yet; removed"))
        .collect();
    for record in LabRecord::read_all(&labs.shared.labs_directory)? {
        match record {
            Ok(record) => report.push(recover_one(labs, record).await),
            Err(unreadable) => {
                report.push(format!("a lab's record cannot be read, and is left alone: {unreadable}"));
            }
        }
    }
    Ok(report)
}

async fn recover_one(labs: &Labs, record: LabRecord) -> String {
    let name = record.name.clone();
    kill_points::here("recover.lab");
    match adopt(record.clone()) {
        Ok(lab) => {
            labs.set(&name, Some(Slot::Up(Arc::new(lab))));
            format!("lab {name}: whole, taken over")
        }
        Err(reason) => {
            let failures = labs.remove(record).await;
            let outcome = if failures.is_empty() { "removed".to_owned() } else { failures.join("; ") };
            format!("lab {name}: {reason}; {outcome}")
        }
    }
}

fn adopt(record: LabRecord) -> Result<Lab, LabError> {
    if !record.served {
        return Err(LabError::Incomplete("it never served".to_owned()));
    }
    let known = namespace::list_named();
    let names = record.members.iter().map(|member| &member.namespace).chain([&record.switch_namespace]);
    if let Some(missing) = names.into_iter().find(|name| !known.contains(name)) {
        return Err(LabError::Incomplete(format!("namespace {missing} is missing")));
    }
    if let Some(ended) = record.members.iter().find(|member| !is_running(member)) {
        return Err(LabError::Incomplete(format!("{} does not run", ended.name)));
    }
    let description = LabDescription::parse(&record.description, Some(&record.name))?;
    let cluster = cluster_of(&description, &record)?;
    Ok(Lab { description, record, cluster })
}
