//! The manifest inside of a component: a custom section, which WebAssembly lets anybody add and nobody run.

use wasmparser::{Parser, Payload};

use crate::{LONGEST_MANIFEST, Manifest, ManifestError};

const SECTION: &str = "faultd-manifest";

/// The component with this manifest at its end; one that it has already is refused.
///
/// # Errors
/// The bytes are no component, it has a manifest, or the text is none.
pub fn embed(component: &[u8], manifest: &str) -> Result<Vec<u8>, ManifestError> {
    Manifest::parse(manifest)?;
    match section(component) {
        Err(ManifestError::Missing) => {}
        Err(error) => return Err(error),
        Ok(_) => return Err(ManifestError::NotOne),
    }
    let mut content = Vec::new();
    write_length(&mut content, SECTION.len());
    content.extend_from_slice(SECTION.as_bytes());
    content.extend_from_slice(manifest.as_bytes());
    let mut whole = component.to_vec();
    // 0 is the number of custom sections.
    whole.push(0);
    write_length(&mut whole, content.len());
    whole.extend_from_slice(&content);
    Ok(whole)
}

/// The manifest of a component.
///
/// # Errors
/// It has none, or one that is wrong.
pub fn extract(component: &[u8]) -> Result<Manifest, ManifestError> {
    let text = std::str::from_utf8(section(component)?);
    Manifest::parse(text.map_err(|error| ManifestError::Shape(error.to_string()))?)
}

/// Sections of modules and components inside of this one are not its own.
fn section(component: &[u8]) -> Result<&[u8], ManifestError> {
    let mut found = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| ManifestError::NotAComponent(error.message().to_owned()))? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 1 && section.name() == SECTION => {
                found.push(section.data());
            }
            _ => {}
        }
    }
    match found.as_slice() {
        [] => Err(ManifestError::Missing),
        [only] if only.len() <= LONGEST_MANIFEST => Ok(only),
        _ => Err(ManifestError::NotOne),
    }
}

/// An unsigned LEB128 number.
fn write_length(bytes: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    loop {
        // Seven bits fit a byte.
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        if rest == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest component: only a head.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
    const TEXT: &str = "id = \"flap\"\nversion = \"1\"\nworld = \"schedule\"\nsummary = \"Flaps.\"\n";

    #[test]
    fn a_manifest_that_was_put_in_is_found() {
        assert_eq!(extract(EMPTY), Err(ManifestError::Missing));
        let long = format!("{TEXT}# {}\n", "x".repeat(20_000));
        for text in [TEXT, &long] {
            let whole = embed(EMPTY, text).unwrap();
            assert_eq!(extract(&whole).unwrap(), Manifest::parse(text).unwrap());
            assert_eq!(embed(&whole, text), Err(ManifestError::NotOne));
        }
    }

    #[test]
    fn what_is_no_component_is_told() {
        assert!(matches!(extract(b"#!/bin/sh"), Err(ManifestError::NotAComponent(_))));
        let whole = embed(EMPTY, TEXT).unwrap();
        assert!(matches!(extract(&whole[..whole.len() - 1]), Err(ManifestError::NotAComponent(_))));
    }

    #[test]
    fn lengths_are_written_as_webassembly_wants_them() {
        let written = |length| {
            let mut bytes = Vec::new();
            write_length(&mut bytes, length);
            bytes
        };
        assert_eq!([written(5), written(127)], [[5], [127]]);
        assert_eq!([written(128), written(300)], [[0x80, 1], [0xac, 2]]);
    }
}
