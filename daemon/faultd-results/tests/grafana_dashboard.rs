//! Holds the Grafana dashboard to the names of faultd's metrics, and to the rules by which Grafana's
//! own dashboard linter judges: without a Grafana, a typing error would only show as an empty panel.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::{Value, json};

/// The metrics that the daemon exports, with their labels.
const METRICS: &[(&str, &[&str])] = &[
    ("faultd_build_info", &["version"]),
    ("faultd_fault_active", &["run", "fault", "kind", "target", "direction"]),
    ("faultd_fault_delay_seconds", &["run", "fault", "target"]),
    ("faultd_fault_loss_ratio", &["run", "fault", "target"]),
    ("faultd_fault_lease_remaining_seconds", &["fault", "target"]),
    ("faultd_rule_packets_total", &["fault", "target", "direction", "verdict"]),
    ("faultd_peer_changes_total", &["target"]),
    ("faultd_target_follows_total", &["target"]),
    ("faultd_fault_transitions_total", &["action", "result"]),
    ("faultd_cleanup_failures_total", &[]),
    ("faultd_run_info", &["run", "label", "cluster", "driver"]),
    ("faultd_run_phase", &["run", "phase"]),
    ("faultd_workload_operations_total", &["run", "operation", "result"]),
    ("faultd_workload_operation_duration_seconds_bucket", &["run", "operation", "le"]),
    ("faultd_workload_clients", &["run"]),
    ("faultd_cluster_member_role", &["cluster", "member", "role"]),
];

/// Labels that Prometheus adds to whatever it scrapes.
const SCRAPE_LABELS: [&str; 2] = ["job", "instance"];

fn grafana(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../grafana").join(file)
}

fn dashboard() -> Value {
    let text = fs::read_to_string(grafana("dashboards/run.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn fault_annotations(dashboard: &Value) -> Vec<&Value> {
    items(dashboard, "/annotations/list").iter().filter(|item| item["builtIn"] != 1).collect()
}

fn query_variables(dashboard: &Value) -> Vec<&Value> {
    items(dashboard, "/templating/list").iter().filter(|variable| variable["type"] == "query").collect()
}

/// Everything that asks Prometheus, with the text to show where it is wrong.
fn targets(dashboard: &Value) -> Vec<(&str, &Value)> {
    let of_panel = |panel| items(panel, "/targets").iter().map(move |target| (text(panel, "title"), target));
    let annotations =
        fault_annotations(dashboard).into_iter().map(|annotation| (text(annotation, "name"), annotation));
    items(dashboard, "/panels").iter().flat_map(of_panel).chain(annotations).collect()
}

/// The selectors of an expression: a metric's name and what stands in its braces.
fn selectors(expr: &str) -> Vec<(&str, &str)> {
    let starts = expr.match_indices("faultd_").map(|(start, _)| start);
    starts
        .map(|start| {
            let rest = &expr[start..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            let braces = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            (name, braces.map_or("", |(inside, _)| inside))
        })
        .collect()
}

/// The names in `a="x", b=~"y"`.
fn label_names(matchers: &str) -> Vec<&str> {
    matchers
        .split(", ")
        .filter_map(|matcher| matcher.split(['=', '!']).next())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The labels that an expression keeps: those in `by (...)`.
fn kept_labels(expr: &str) -> BTreeSet<&str> {
    let lists = expr.match_indices("by (").map(|(start, by)| &expr[start + by.len()..]);
    lists.filter_map(|rest| rest.split_once(')')).flat_map(|(list, _)| list.split(", ")).collect()
}

fn placeholders(text: &str) -> Vec<&str> {
    text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(name, _)| name).collect()
}

#[test]
fn the_dashboard_is_one_that_provisioning_takes() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "faultd-run");
    assert_eq!(dashboard["id"], Value::Null);
    assert_eq!(dashboard["schemaVersion"], 42);
    assert_eq!(dashboard["editable"], false);
    assert_eq!(dashboard["refresh"], "5s");
    assert_eq!(dashboard["graphTooltip"], 1, "the cross-hair is shared by all panels");
    assert!(dashboard.get("__inputs").is_none(), "only the import dialog resolves inputs");
}

#[test]
fn the_variables_narrow_each_other_down() {
    let dashboard = dashboard();
    let names: Vec<&str> =
        items(&dashboard, "/templating/list").iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(names, ["datasource", "job", "instance", "run"]);
    for variable in query_variables(&dashboard) {
        let name = text(variable, "name");
        assert_eq!(variable["refresh"], 2, "{name} follows the time range");
        assert_eq!((&variable["multi"], &variable["includeAll"]), (&json!(true), &json!(true)), "{name}");
        let query = variable["query"]["query"].as_str().unwrap();
        assert_eq!(query, text(variable, "definition"));
        for (metric, _) in selectors(query) {
            assert!(METRICS.iter().any(|(known, _)| *known == metric), "{name}: {metric}");
        }
    }
    let run = query_variables(&dashboard).into_iter().find(|variable| variable["name"] == "run").unwrap();
    assert_eq!(run["allValue"], ".*", "all runs include faults outside of runs, whose run is empty");
}

#[test]
fn everything_asks_the_chosen_data_source() {
    let dashboard = dashboard();
    let chosen = json!({"type": "prometheus", "uid": "${datasource}"});
    for variable in query_variables(&dashboard) {
        assert_eq!(variable["datasource"], chosen, "{}", text(variable, "name"));
    }
    for panel in items(&dashboard, "/panels") {
        assert_eq!(panel["datasource"], chosen, "{}", text(panel, "title"));
    }
    for (title, target) in targets(&dashboard) {
        assert_eq!(target["datasource"], chosen, "{title}");
    }
}

#[test]
fn every_expression_uses_only_metrics_and_labels_that_faultd_exports() {
    for (title, target) in targets(&dashboard()) {
        let expr = text(target, "expr");
        assert!(!selectors(expr).is_empty(), "{title}: {expr}");
        for (metric, matchers) in selectors(expr) {
            let (_, labels) = METRICS
                .iter()
                .find(|(known, _)| *known == metric)
                .unwrap_or_else(|| panic!("{title}: {metric} is no metric of faultd"));
            for label in label_names(matchers) {
                assert!(
                    labels.contains(&label) || SCRAPE_LABELS.contains(&label),
                    "{title}: {metric} has no label {label}"
                );
            }
            assert!(matchers.contains(r#"job=~"$job", instance=~"$instance""#), "{title}: {metric}");
            assert_eq!(labels.contains(&"run"), matchers.contains(r#"run=~"$run""#), "{title}: {metric}");
        }
    }
}

#[test]
fn legends_and_annotations_show_only_labels_that_the_expression_keeps() {
    for (title, target) in targets(&dashboard()) {
        let kept = kept_labels(text(target, "expr"));
        for key in ["legendFormat", "titleFormat", "textFormat"] {
            for label in placeholders(text(target, key)) {
                assert!(kept.contains(label), "{title}: {label} is not in {kept:?}");
            }
        }
        for label in text(target, "tagKeys").split(',').filter(|label| !label.is_empty()) {
            assert!(kept.contains(label), "{title}: {label} is not in {kept:?}");
        }
    }
}

#[test]
fn counters_are_counted_over_the_interval_that_grafana_chooses() {
    for (title, target) in targets(&dashboard()) {
        let expr = text(target, "expr");
        for (metric, matchers) in selectors(expr) {
            let over_interval = format!("({metric}{{{matchers}}}[$__rate_interval])");
            let counted = ["rate", "increase"].map(|function| format!("{function}{over_interval}"));
            let is_counter = metric.ends_with("_total") || metric.ends_with("_bucket");
            assert_eq!(counted.iter().any(|counted| expr.contains(counted)), is_counter, "{title}: {expr}");
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    let dashboard = dashboard();
    let panels = items(&dashboard, "/panels");
    assert!(panels.len() > 10);
    for panel in panels {
        let title = text(panel, "title");
        assert!(!title.is_empty() && !text(panel, "description").is_empty(), "{title}");
        let unit = panel.pointer("/fieldConfig/defaults/unit").and_then(Value::as_str).unwrap();
        let known = ["ops", "s", "percentunit", "pps", "none"];
        assert!(known.contains(&unit), "{title}: {unit}");
        assert!(!items(panel, "/targets").is_empty(), "{title}");
    }
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
}

#[test]
fn panels_fill_the_grid_without_lying_on_each_other() {
    let dashboard = dashboard();
    let mut cells = BTreeSet::new();
    for panel in items(&dashboard, "/panels") {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{}", text(panel, "title"));
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{} lies on another panel", text(panel, "title"));
        }
    }
    let height = cells.iter().map(|(_, y)| y + 1).max().unwrap();
    assert_eq!(cells.len() as u64, 24 * height, "there are holes between the panels");
}

#[test]
fn the_fault_window_is_drawn_for_each_kind_of_fault_to_the_second() {
    let dashboard = dashboard();
    let annotations = fault_annotations(&dashboard);
    let colors: BTreeSet<&str> = annotations.iter().map(|annotation| text(annotation, "iconColor")).collect();
    assert_eq!(colors.len(), 3, "one colour for each kind");
    for (annotation, kind) in annotations.iter().zip(["delay", "loss", "delay+loss"]) {
        assert!(text(annotation, "expr").contains(&format!(r#"kind="{kind}""#)), "{annotation}");
        // Grafana joins points that are at most one step apart, and takes a minute if not told.
        assert_eq!(annotation["step"], "1s", "{kind}");
        assert_eq!(annotation["enable"], true, "{kind}");
    }
}

#[test]
fn prometheus_and_grafana_agree_on_the_scrape_interval_and_on_where_things_are() {
    let read = |file| fs::read_to_string(grafana(file)).unwrap();
    let prometheus = read("prometheus.yml");
    assert!(prometheus.contains("scrape_interval: 1s") && prometheus.contains("127.0.0.1:9920"));
    assert!(read("provisioning/datasources/prometheus.yaml").contains("timeInterval: 1s"));
    let folder = "/etc/faultd/dashboards";
    assert!(read("provisioning/dashboards/faultd.yaml").contains(&format!("path: {folder}\n")));
    assert!(read("compose.yaml").contains(&format!("./dashboards:{folder}:ro")));
}
