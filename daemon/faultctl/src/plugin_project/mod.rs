//! `faultctl plugin new`: a crate that compiles as it is. The SDK and the contract that this faultctl was built
//! with lie inside of it, so that nothing has to be found and both are of the daemon's version.

use std::{fs, io, path::Path};

use crate::{command_error::CommandError, commands::plugin::WorldChoice};

/// Every file of a project but those of its world: path and content.
const SHARED_FILES: [(&str, &str); 16] = [
    ("Cargo.toml", include_str!("templates/Cargo.toml.template")),
    (".gitignore", "/target\n/*.wasm\n"),
    ("sdk/Cargo.toml", include_str!("templates/sdk-Cargo.toml.template")),
    ("sdk/src/lib.rs", include_str!("../../../../plugins/sdk/src/lib.rs")),
    ("sdk/src/grpc.rs", include_str!("../../../../plugins/sdk/src/grpc.rs")),
    ("sdk/src/bindings.rs", include_str!("../../../../plugins/sdk/src/bindings.rs")),
    ("sdk/src/driver.rs", include_str!("../../../../plugins/sdk/src/driver.rs")),
    ("sdk/src/random.rs", include_str!("../../../../plugins/sdk/src/random.rs")),
    ("sdk/src/schedule.rs", include_str!("../../../../plugins/sdk/src/schedule.rs")),
    ("sdk/src/settings.rs", include_str!("../../../../plugins/sdk/src/settings.rs")),
    ("sdk/src/shape.rs", include_str!("../../../../plugins/sdk/src/shape.rs")),
    ("sdk/src/stream.rs", include_str!("../../../../plugins/sdk/src/stream.rs")),
    ("sdk/src/testing.rs", include_str!("../../../../plugins/sdk/src/testing.rs")),
    ("wit/host.wit", include_str!("../../../../plugins/wit/host.wit")),
    ("wit/schedule.wit", include_str!("../../../../plugins/wit/schedule.wit")),
    ("wit/driver.wit", include_str!("../../../../plugins/wit/driver.wit")),
];

const SCHEDULE_FILES: [(&str, &str); 2] = [
    ("plugin.toml", include_str!("templates/schedule-plugin.toml.template")),
    ("src/lib.rs", include_str!("templates/schedule.rs.template")),
];

const DRIVER_FILES: [(&str, &str); 2] = [
    ("plugin.toml", include_str!("templates/driver-plugin.toml.template")),
    ("src/lib.rs", include_str!("templates/driver.rs.template")),
];

/// What stands for the plugin's name in the templates.
const NAME: &str = "PLUGIN-NAME";

/// Writes the project into a folder that is not there yet.
///
/// # Errors
/// The name is none, the folder exists, or cannot be written.
pub(crate) fn write(world: WorldChoice, name: &str, folder: &Path) -> Result<(), CommandError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins_with_letter = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins_with_letter || name.len() > 64 || !name.chars().all(plain) {
        return Err(CommandError::Usage(format!(
            "'{name}' cannot be a plugin's name: begin with a letter, use a-z, 0-9 and -"
        )));
    }
    let failed = |what: &str, path: &Path, source: io::Error| CommandError::File {
        action: format!("{what} {}", path.display()),
        source,
    };
    fs::create_dir(folder).map_err(|source| failed("create", folder, source))?;
    let of_world = match world {
        WorldChoice::Schedule => SCHEDULE_FILES,
        WorldChoice::Driver => DRIVER_FILES,
    };
    for (path, content) in SHARED_FILES.iter().chain(&of_world) {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|source| failed("create", parent, source))?;
        }
        let content = content.replace(NAME, name);
        fs::write(&path, content).map_err(|source| failed("write", &path, source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_sdk_is_in_a_project() {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/sdk/src");
        for entry in fs::read_dir(sdk).unwrap() {
            let path = format!("sdk/src/{}", entry.unwrap().file_name().to_str().unwrap());
            assert!(
                SHARED_FILES.iter().any(|(known, _)| *known == path),
                "{path} is missing in SHARED_FILES"
            );
        }
    }

    #[test]
    fn a_name_that_is_none_and_a_folder_that_is_there_are_refused() {
        let folder = std::env::temp_dir().join(format!("faultctl-project-{}", std::process::id()));
        for name in ["", "../x", "A", "1a", "a b"] {
            let error = write(WorldChoice::Driver, name, &folder).unwrap_err().to_string();
            assert!(error.contains("cannot be a plugin's name"), "{error}");
        }
        write(WorldChoice::Driver, "mine", &folder).unwrap();
        assert!(fs::read_to_string(folder.join("plugin.toml")).unwrap().contains("id = \"mine\""));
        assert!(write(WorldChoice::Driver, "mine", &folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
