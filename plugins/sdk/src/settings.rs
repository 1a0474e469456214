//! Reading the settings that the user wrote for a plugin: name and value, both text.

/// The values of the known settings, in the order of `known`; the last one wins where one is given twice.
///
/// # Errors
/// Names the first setting that is not known, and those that are.
pub fn read<const COUNT: usize>(
    settings: &[(String, String)],
    known: [&str; COUNT],
) -> Result<[Option<String>; COUNT], String> {
    if let Some((name, _)) = settings.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(match known.as_slice() {
            [] => format!("unknown setting {name:?}: this plugin has none"),
            _ => format!("unknown setting {name:?}: known are {}", known.join(", ")),
        });
    }
    Ok(known
        .map(|wanted| settings.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())))
}

/// A setting that is `true` or `false`; missing is `false`.
///
/// # Errors
/// Says what the setting may be.
pub fn flag(name: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(format!("setting {name} is true or false, not {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn known_settings_are_found_and_the_last_one_wins() {
        let [mode, size] = read(&pairs(&[("mode", "a"), ("mode", "b")]), ["mode", "size"]).unwrap();
        assert_eq!((mode.as_deref(), size), (Some("b"), None));
    }

    #[test]
    fn an_unknown_setting_is_named_with_the_known_ones() {
        let error = read(&pairs(&[("sise", "1")]), ["mode", "size"]).unwrap_err();
        assert_eq!(error, r#"unknown setting "sise": known are mode, size"#);
        assert_eq!(
            read(&pairs(&[("x", "")]), []).unwrap_err(),
            r#"unknown setting "x": this plugin has none"#
        );
    }

    #[test]
    fn a_flag_is_true_or_false() {
        assert_eq!(
            [flag("f", None), flag("f", Some("false")), flag("f", Some("true"))],
            [Ok(false), Ok(false), Ok(true)]
        );
        assert!(flag("f", Some("yes")).unwrap_err().contains("yes"));
    }
}
