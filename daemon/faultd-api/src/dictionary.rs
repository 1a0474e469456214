//! Plain structs to and from `a{sv}`, the form in which everything structured travels.
//!
//! The bridge is serde's data model (through [`serde_json::Value`]), so that one struct gives the
//! bus form, the JSON that `faultctl -o json` prints, and the refusal of unknown keys.

use std::collections::HashMap;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Number, Value};
use zbus::{
    Array, Dict, OwnedVariant, Signature, Variant,
    wire::{self},
};

/// A dictionary of named values on the bus: `a{sv}`.
pub type Dictionary = HashMap<String, OwnedVariant>;

/// Why a struct cannot travel, or a dictionary is not the expected struct.
#[derive(Debug, thiserror::Error)]
pub enum DictionaryError {
    /// A key is missing, unknown or of the wrong type.
    #[error("{0}")]
    Shape(#[from] serde_json::Error),
    /// A struct was expected and something else was given.
    #[error("not a dictionary of named values")]
    NotADictionary,
    /// A type on the bus that has no meaning in a request (file descriptors, structures).
    #[error("key '{0}' has a type that is not used here")]
    UnknownType(String),
    /// The value cannot be put on the bus.
    #[error("cannot be encoded for the bus")]
    Encode(#[from] zbus::Error),
}

/// Encodes a struct; fields that are `None` are left out.
///
/// # Errors
/// When `value` is no struct or holds something that D-Bus cannot carry.
pub fn encode<T: Serialize>(value: &T) -> Result<Dictionary, DictionaryError> {
    let Value::Object(fields) = serde_json::to_value(value)? else {
        return Err(DictionaryError::NotADictionary);
    };
    let mut dictionary = Dictionary::new();
    for (key, value) in fields {
        if let Some(variant) = to_variant(value)? {
            dictionary.insert(key, OwnedVariant::try_from(variant)?);
        }
    }
    Ok(dictionary)
}

/// Decodes a dictionary into a struct.
///
/// # Errors
/// When a key is missing, of the wrong type, or unknown to a struct that denies unknown fields.
pub fn decode<T: DeserializeOwned>(dictionary: Dictionary) -> Result<T, DictionaryError> {
    let mut fields = Map::new();
    for (key, value) in dictionary {
        let value = from_variant(&key, &value)?;
        fields.insert(key, value);
    }
    Ok(serde_json::from_value(Value::Object(fields))?)
}

fn to_variant(value: Value) -> Result<Option<Variant<'static>>, DictionaryError> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(flag) => Variant::from(flag),
        Value::Number(number) => number_to_variant(&number),
        Value::String(text) => Variant::from(text),
        Value::Array(items) => Variant::Array(array_to_variant(items)?),
        Value::Object(fields) => Variant::Dict(object_to_variant(fields)?),
    }))
}

fn number_to_variant(number: &Number) -> Variant<'static> {
    if let Some(unsigned) = number.as_u64() {
        Variant::from(unsigned)
    } else if let Some(signed) = number.as_i64() {
        Variant::from(signed)
    } else {
        Variant::from(number.as_f64().unwrap_or(f64::NAN))
    }
}

fn object_to_variant(fields: Map<String, Value>) -> Result<Dict<'static, 'static>, DictionaryError> {
    let mut dict = Dict::new(&Signature::Str, &Signature::Variant);
    for (key, value) in fields {
        if let Some(variant) = to_variant(value)? {
            dict.append(Variant::from(key), Variant::Variant(Box::new(variant)))?;
        }
    }
    Ok(dict)
}

/// Lists of structs travel as `aa{sv}`, lists of texts as `as`, anything else as `av`.
fn array_to_variant(items: Vec<Value>) -> Result<Array<'static>, DictionaryError> {
    if items.iter().all(Value::is_string) {
        let mut array = Array::new(&Signature::Str);
        for item in items {
            if let Some(variant) = to_variant(item)? {
                array.append(variant)?;
            }
        }
        return Ok(array);
    }
    let dictionaries = items.iter().all(Value::is_object);
    let signature = if dictionaries { wire::signature!("a{sv}") } else { Signature::Variant };
    let mut array = Array::new(&signature);
    for item in items {
        if let Some(variant) = to_variant(item)? {
            array.append(if dictionaries { variant } else { Variant::Variant(Box::new(variant)) })?;
        }
    }
    Ok(array)
}

fn from_variant(key: &str, variant: &Variant<'_>) -> Result<Value, DictionaryError> {
    Ok(match variant {
        Variant::U8(number) => Value::from(*number),
        Variant::Bool(flag) => Value::from(*flag),
        Variant::I16(number) => Value::from(*number),
        Variant::U16(number) => Value::from(*number),
        Variant::I32(number) => Value::from(*number),
        Variant::U32(number) => Value::from(*number),
        Variant::I64(number) => Value::from(*number),
        Variant::U64(number) => Value::from(*number),
        Variant::F64(number) => Value::from(*number),
        Variant::Str(text) => Value::from(text.as_str()),
        Variant::ObjectPath(path) => Value::from(path.as_str()),
        Variant::Variant(inner) => from_variant(key, inner)?,
        Variant::Array(array) => {
            Value::Array(array.inner().iter().map(|item| from_variant(key, item)).collect::<Result<_, _>>()?)
        }
        Variant::Dict(dict) => {
            let mut fields = Map::new();
            for (name, value) in dict.iter() {
                let Variant::Str(name) = name else {
                    return Err(DictionaryError::UnknownType(key.to_owned()));
                };
                fields.insert(name.as_str().to_owned(), from_variant(name.as_str(), value)?);
            }
            Value::Object(fields)
        }
        _ => return Err(DictionaryError::UnknownType(key.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        name: String,
    }

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        count: u64,
        below: i64,
        ratio: f64,
        absent: Option<String>,
        words: Vec<String>,
        inner: Vec<Inner>,
    }

    fn sample() -> Outer {
        Outer {
            count: u64::MAX,
            below: -3,
            ratio: 0.25,
            absent: None,
            words: vec!["a".into(), "b".into()],
            inner: vec![Inner { name: "x".into() }, Inner { name: "y".into() }],
        }
    }

    #[test]
    fn a_struct_comes_back_as_it_went() {
        let dictionary = encode(&sample()).unwrap();
        assert!(!dictionary.contains_key("absent"));
        assert_eq!(decode::<Outer>(dictionary).unwrap(), sample());
    }

    #[test]
    fn lists_of_structs_travel_as_dictionaries() {
        let dictionary = encode(&sample()).unwrap();
        let signature = |key: &str| dictionary.get(key).unwrap().value_signature().to_string();
        assert_eq!(signature("inner"), "aa{sv}");
        assert_eq!(signature("words"), "as");
        assert_eq!(signature("count"), "t");
        assert_eq!(signature("ratio"), "d");
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let mut dictionary = encode(&Inner { name: "x".into() }).unwrap();
        dictionary.insert("nmae".into(), OwnedVariant::try_from(Variant::from("y")).unwrap());
        let error = decode::<Inner>(dictionary).unwrap_err().to_string();
        assert!(error.contains("unknown field `nmae`"), "{error}");
    }

    #[test]
    fn small_integers_of_other_clients_are_understood() {
        let mut dictionary = encode(&sample()).unwrap();
        dictionary.insert("count".into(), OwnedVariant::try_from(Variant::from(7_u16)).unwrap());
        assert_eq!(decode::<Outer>(dictionary).unwrap().count, 7);
    }
}
