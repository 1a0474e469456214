//! As much of JSON Schema as our schemas use, and stricter: a key that is not described is wrong, and so is a word of a
//! schema that is not known here.

use serde_json::{Map, Value};

/// Words that say nothing about a value.
const TALK: [&str; 8] =
    ["$schema", "$defs", "title", "description", "default", "format", "examples", "deprecated"];

/// Whether a value is as its schema says, with what is wrong.
pub(crate) fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let Some(words) = schema.as_object() else {
        return if schema == &Value::Bool(false) { Err(format!("{value} may not be")) } else { Ok(()) };
    };
    for (word, wanted) in words.iter().filter(|(word, _)| !TALK.contains(&word.as_str())) {
        let fits = match word.as_str() {
            "$ref" => check(root, followed(root, wanted), value),
            "const" => said(wanted == value, value, wanted),
            "enum" => said(list(wanted).contains(value), value, wanted),
            "type" => said(has_type(wanted, value), value, wanted),
            "minimum" => {
                said(value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap()), value, wanted)
            }
            "maximum" => {
                said(value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap()), value, wanted)
            }
            "anyOf" => one_of(root, wanted, value, 1..usize::MAX),
            "oneOf" => one_of(root, wanted, value, 1..2),
            "allOf" => list(wanted).iter().try_for_each(|part| check(root, part, value)),
            "items" => list(value).iter().try_for_each(|item| check(root, wanted, item)),
            "properties" => fields(value).iter().try_for_each(|(key, field)| match wanted.get(key) {
                Some(schema) => check(root, schema, field).map_err(|what| format!("{key}: {what}")),
                None if words.contains_key("additionalProperties") => Ok(()),
                None => Err(format!("the key {key} is not described")),
            }),
            "required" => list(wanted).iter().try_for_each(|key| {
                let key = key.as_str().unwrap();
                said(!value.is_object() || value.get(key).is_some(), value, &Value::from(key))
            }),
            "additionalProperties" => fields(value)
                .iter()
                .filter(|(key, _)| {
                    words.get("properties").is_none_or(|known| known.get(key.as_str()).is_none())
                })
                .try_for_each(|(_, field)| check(root, wanted, field)),
            "minItems" => said(list(value).len() as u64 >= wanted.as_u64().unwrap(), value, wanted),
            "maxItems" => said(list(value).len() as u64 <= wanted.as_u64().unwrap(), value, wanted),
            other => Err(format!("'{other}' is not known to this test")),
        };
        fits.map_err(|what| format!("{word}: {what}"))?;
    }
    Ok(())
}

fn said(fits: bool, value: &Value, wanted: &Value) -> Result<(), String> {
    if fits { Ok(()) } else { Err(format!("{value} is not {wanted}")) }
}

fn one_of(
    root: &Value,
    schemas: &Value,
    value: &Value,
    wanted: std::ops::Range<usize>,
) -> Result<(), String> {
    let tried: Vec<_> = list(schemas).iter().map(|schema| check(root, schema, value)).collect();
    let fits = tried.iter().filter(|tried| tried.is_ok()).count();
    if wanted.contains(&fits) { Ok(()) } else { Err(format!("{fits} of the choices fit: {tried:?}")) }
}

fn followed<'a>(root: &'a Value, reference: &Value) -> &'a Value {
    let path = reference.as_str().unwrap().strip_prefix('#').unwrap();
    root.pointer(path).unwrap()
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type is called {other}"),
    };
    if wanted.is_array() { list(wanted).iter().any(is) } else { is(wanted) }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn fields(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
