//! The manifest for Kubernetes, held against the types that are generated from its schema: what they do not know would
//! be lost on the way through them.

use std::collections::BTreeSet;
use std::fs;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PodSpec, ServiceAccount};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::shipped;

fn documents() -> Vec<Value> {
    let text = fs::read_to_string(shipped("kubernetes/daemonset.yaml")).expect("the manifest");
    yaml_serde::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).expect("a document"))
        .collect()
}

fn checked<T: Serialize + DeserializeOwned>(document: &Value) -> T {
    let object: T = serde_json::from_value(document.clone()).expect("an object of that kind");
    let known = serde_json::to_value(&object).expect("JSON");
    assert_eq!(&known, document, "a field is unknown");
    object
}

fn daemon_set() -> DaemonSet {
    let documents = documents();
    checked(documents.iter().find(|document| document["kind"] == "DaemonSet").expect("a DaemonSet"))
}

fn pod() -> PodSpec {
    daemon_set().spec.expect("a specification").template.spec.expect("a pod")
}

#[test]
fn every_object_is_one_that_kubernetes_knows_in_the_namespace_of_the_first() {
    let mut kinds = Vec::new();
    for document in documents() {
        let kind = document["kind"].as_str().expect("a kind").to_owned();
        match kind.as_str() {
            "Namespace" => drop(checked::<Namespace>(&document)),
            "ServiceAccount" => drop(checked::<ServiceAccount>(&document)),
            "ConfigMap" => drop(checked::<ConfigMap>(&document)),
            "DaemonSet" => drop(checked::<DaemonSet>(&document)),
            other => panic!("{other} is not checked"),
        }
        let namespace = &document["metadata"]["namespace"];
        assert!(kind == "Namespace" || namespace == "faultd", "{kind}: {namespace}");
        kinds.push(kind);
    }
    assert_eq!(kinds, ["Namespace", "ServiceAccount", "ConfigMap", "DaemonSet"]);
}

#[test]
fn a_field_that_kubernetes_does_not_know_is_found() {
    let mut document = documents().pop().expect("a document");
    document["spec"]["template"]["spec"]["hostPid"] = Value::Bool(true);
    assert!(std::panic::catch_unwind(|| checked::<DaemonSet>(&document)).is_err());
}

#[test]
fn the_container_is_not_privileged_and_has_no_more_capabilities_than_the_service() {
    let pod = pod();
    let [container] = pod.containers.as_slice() else { panic!("one container") };
    let security = container.security_context.clone().expect("a security context");
    assert_eq!((security.privileged, security.read_only_root_filesystem), (None, Some(true)));
    let capabilities = security.capabilities.expect("capabilities");
    assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
    let unit = fs::read_to_string(shipped("faultd.service")).expect("the unit");
    let of_the_unit: BTreeSet<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .flat_map(str::split_whitespace)
        .collect();
    for capability in capabilities.add.expect("some capabilities") {
        assert!(of_the_unit.contains(format!("CAP_{capability}").as_str()), "{capability}");
    }
    // Mounts that go both ways are for privileged containers.
    let mounts = container.volume_mounts.clone().expect("mounts");
    assert!(mounts.iter().all(|mount| mount.mount_propagation.as_deref() != Some("Bidirectional")));
}

#[test]
fn what_the_pod_names_is_there() {
    let pod = pod();
    let container = pod.containers.first().expect("a container");
    let volumes: BTreeSet<String> = pod.volumes.iter().flatten().map(|volume| volume.name.clone()).collect();
    let mounted: BTreeSet<String> =
        container.volume_mounts.iter().flatten().map(|mount| mount.name.clone()).collect();
    assert_eq!(volumes, mounted);
    assert_eq!(pod.service_account_name.as_deref(), Some("faultd"));
    assert_eq!((pod.host_network, pod.host_pid), (Some(true), Some(true)));
    let image = format!("faultd:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(container.image.as_deref(), Some(image.as_str()));
    let probes = [&container.startup_probe, &container.readiness_probe, &container.liveness_probe];
    assert!(probes.iter().all(|probe| probe.is_some()), "it is asked whether it lives");
    let labels = daemon_set().spec.expect("a specification").template.metadata.and_then(|data| data.labels);
    let selected = daemon_set().spec.expect("a specification").selector.match_labels.expect("labels");
    assert!(selected.iter().all(|(key, value)| labels.as_ref().and_then(|own| own.get(key)) == Some(value)));
}
