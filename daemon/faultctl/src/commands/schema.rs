//! `faultctl schema`: what `-o json` and `-o jsonl` print, described from the types that are printed.

use faultd_api::{
    doctor::DoctorReport,
    fault::{FaultPlan, FaultStatus},
    lab::LabStatus,
    plugin::{CheckReport, PluginReport, PluginStatus, ReplayReport},
    run::{RunProgress, RunStatus},
    target::TargetStatus,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    doctor_alone::LonelyReport,
    fault::Cleared,
    results::{ResultDocument, ResultRow},
    run::{BegunRun, RunDocument},
    run_plan::RunPlan,
    search::SearchDocument,
    several::OnHost,
    tool_output::{ReadDocument, SecondRow},
};
use crate::{
    command_error::CommandError,
    output::{Format, SCHEMA_PREFIX, plural, print, table},
};

pub(crate) const EXAMPLES: &str = "Examples:
  faultctl schema
  faultctl schema fault > fault.json";

/// One kind of document.
struct Described {
    name: String,
    /// The commands that print it.
    printed_by: &'static str,
    schema: Value,
}

/// Something, and where that is, if several `-H` were given.
#[derive(Debug, Serialize, JsonSchema)]
struct Somewhere<T> {
    /// The machine as it was named; there where several were.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(flatten)]
    value: T,
}

/// A fault, and how it began, if that was on several machines at one moment.
#[derive(Debug, Serialize, JsonSchema)]
struct FaultSomewhere {
    #[serde(flatten)]
    fault: Somewhere<FaultStatus>,
    /// How long after the moment that was meant it began, on the clock of its host; for `fault add` with several `-H`.
    #[serde(skip_serializing_if = "Option::is_none")]
    begin_offset_ns: Option<i64>,
    /// By how much that moment itself may have been another one on that clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    begin_uncertainty_ns: Option<u64>,
}

/// A line of the list of schemas.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SchemaRow {
    /// The name, as in `"schema": "faultd/v1/NAME"`.
    name: String,
    /// The commands that print it.
    printed_by: &'static str,
}

pub(crate) fn schema(name: Option<&str>, output: Format) -> Result<(), CommandError> {
    let all = all();
    let Some(name) = name else {
        let row = |described: Described| SchemaRow { name: described.name, printed_by: described.printed_by };
        let rows: Vec<SchemaRow> = all.into_iter().map(row).collect();
        return output.many("schema", &rows, |rows| {
            let cells = rows.iter().map(|row| [row.name.clone(), row.printed_by.to_owned()]);
            table(["NAME", "PRINTED BY"], cells)
        });
    };
    let name = name.strip_prefix(SCHEMA_PREFIX).unwrap_or(name);
    let found = all.iter().find(|described| described.name == name).ok_or_else(|| {
        CommandError::NotFound(format!("no schema is called '{name}'; see 'faultctl schema'"))
    })?;
    print(&serde_json::to_string_pretty(&found.schema).unwrap_or_default())
}

/// Every kind of document there is.
fn all() -> Vec<Described> {
    let documents = [
        one::<DoctorReport>("doctor", "doctor"),
        one::<LonelyReport>("doctor-alone", "doctor, where no daemon answers"),
        one::<OnHost<DoctorReport>>("report", "doctor with several -H as lines"),
        one::<FaultSomewhere>("fault", "fault add, fault show, fault set; fault ls as lines"),
        one::<Somewhere<FaultPlan>>("plan", "fault add --dry-run as lines"),
        confirmation("fault-removed", "id", "fault rm"),
        one::<Cleared>("faults-cleared", "fault clear"),
        one::<OnHost<Cleared>>("host", "fault clear with several -H as lines"),
        one::<Somewhere<TargetStatus>>("target", "target ls as lines"),
        one::<LabStatus>("lab", "lab up, lab status NAME; lab status as lines"),
        confirmation("lab-down", "name", "lab down"),
        one::<RunDocument<'static>>("run", "run, and search in one run"),
        one::<RunProgress>("progress", "run as lines, once a second"),
        one::<BegunRun>("run-begun", "run --no-wait"),
        one::<RunPlan>("run-plan", "run --dry-run"),
        one::<RunStatus>("run-status", "runs show, runs wait; runs ls as lines"),
        confirmation("run-stopped", "id", "runs stop"),
        one::<SearchDocument>("search", "search --over-runs"),
        one::<ResultRow>("result", "results ls as lines"),
        one::<ResultDocument<'static>>("result-report", "results show"),
        one::<ReadDocument>("tool-output", "results read"),
        one::<SecondRow>("tool-second", "results read as lines"),
        one::<PluginStatus>("plugin", "plugin ls as lines"),
        one::<PluginReport>("plugin-report", "plugin inspect"),
        one::<CheckReport>("check", "plugin check"),
        one::<ReplayReport>("replay", "plugin replay"),
        confirmation("plugin-begun", "folder", "plugin new"),
        confirmation("plugin-built", "file", "plugin build"),
        one::<SchemaRow>("schema", "schema as lines"),
    ];
    let lists = [
        many::<OnHost<DoctorReport>>("report", "doctor with several -H"),
        many::<FaultSomewhere>("fault", "fault ls; fault add with several targets"),
        many::<Somewhere<FaultPlan>>("plan", "fault add --dry-run"),
        many::<OnHost<Cleared>>("host", "fault clear with several -H"),
        many::<Somewhere<TargetStatus>>("target", "target ls"),
        many::<LabStatus>("lab", "lab status"),
        many::<RunStatus>("run-status", "runs ls"),
        many::<ResultRow>("result", "results ls"),
        many::<PluginStatus>("plugin", "plugin ls"),
        many::<SchemaRow>("schema", "schema"),
    ];
    documents.into_iter().chain(lists).collect()
}

fn one<T: JsonSchema>(name: &str, printed_by: &'static str) -> Described {
    named(name, printed_by, schema_of::<T>())
}

/// The document that holds many of a kind under their plural.
fn many<T: JsonSchema>(kind: &str, printed_by: &'static str) -> Described {
    let name = plural(kind);
    let mut list = schema_of::<Vec<T>>();
    let mut schema = json!({
        "type": "object",
        "properties": { name.as_str(): { "type": "array", "items": take(&mut list, "items") } },
        "required": [name.as_str()],
    });
    for key in ["$schema", "$defs"] {
        put(&mut schema, key, take(&mut list, key));
    }
    named(&name, printed_by, schema)
}

/// What says that something was done.
fn confirmation(name: &str, field: &str, printed_by: &'static str) -> Described {
    let text = json!({ "type": "string" });
    let schema = json!({ "type": "object", "properties": { field: text }, "required": [field] });
    named(name, printed_by, schema)
}

fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// A document says itself what it is.
fn named(name: &str, printed_by: &'static str, mut schema: Value) -> Described {
    put(&mut schema, "title", Value::from(name));
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("schema".to_owned(), json!({ "const": format!("{SCHEMA_PREFIX}{name}") }));
    }
    let mut required = take(&mut schema, "required");
    if let Some(fields) = required.as_array_mut() {
        fields.insert(0, Value::from("schema"));
    } else {
        required = json!(["schema"]);
    }
    put(&mut schema, "required", required);
    Described { name: name.to_owned(), printed_by, schema }
}

fn take(schema: &mut Value, key: &str) -> Value {
    schema.as_object_mut().and_then(|fields: &mut Map<String, Value>| fields.remove(key)).unwrap_or_default()
}

fn put(schema: &mut Value, key: &str, value: Value) {
    if let Some(fields) = schema.as_object_mut().filter(|_| !value.is_null()) {
        fields.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn documentation() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
    }

    /// Programs of others are written against the files; `FAULTD_UPDATE_SNAPSHOTS=1` writes them.
    #[test]
    fn the_schemas_are_those_that_are_checked_in() {
        let folder = documentation().join("schema");
        let is_update = std::env::var_os("FAULTD_UPDATE_SNAPSHOTS").is_some();
        let mut names = BTreeSet::new();
        for Described { name, schema, .. } in all() {
            let file = folder.join(format!("{name}.json"));
            if is_update {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&schema).unwrap())).unwrap();
            }
            let text = fs::read_to_string(&file).unwrap_or_default();
            let known: Value = serde_json::from_str(&text).unwrap_or_default();
            assert_eq!(known, schema, "{}: FAULTD_UPDATE_SNAPSHOTS=1 writes it anew", file.display());
            assert!(names.insert(format!("{name}.json")), "{name} is there twice");
        }
        let files =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(files.collect::<BTreeSet<_>>(), names);
    }

    #[test]
    fn every_schema_is_in_the_documentation() {
        let text = fs::read_to_string(documentation().join("json.md")).unwrap();
        for Described { name, printed_by, .. } in all() {
            let row = format!("| [`{name}`](schema/{name}.json) | {printed_by} |");
            assert!(text.contains(&row), "docs/json.md lacks {row}");
        }
    }

    #[test]
    fn a_document_is_what_it_says() {
        let Described { schema, .. } = one::<TargetStatus>("target", "");
        assert_eq!(schema["properties"]["schema"]["const"], "faultd/v1/target");
        assert_eq!(schema["required"][0], "schema");
        assert_eq!(schema["properties"]["addresses"]["type"], "array");
        let Described { name, schema, .. } = many::<RunStatus>("run-status", "");
        assert_eq!((name.as_str(), &schema["properties"]["runs"]["type"]), ("runs", &json!("array")));
    }
}
