//! The components to test: those that `cargo xtask plugins` built, and fixtures made of text.

use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A plugin that ships.
pub(crate) fn shipped(name: &str) -> Vec<u8> {
    let file = repository().join("target/plugins").join(format!("{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| {
        panic!("{}: {error}: run `cargo xtask plugins` first, which builds it", file.display())
    })
}

/// A driver of the given name that may use streams, from the text of its core module.
pub(crate) fn fixture(id: &str, core_module: &str) -> Vec<u8> {
    let world = "driver";
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(repository().join("plugins/wit")).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = wat::parse_str(core_module).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let component = ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap();
    let manifest = format!(
        "id = \"{id}\"\nversion = \"1\"\nworld = \"driver\"\nsummary = \"A fixture.\"\n\
         [network]\nuses = [\"streams\", \"http1\"]\n"
    );
    faultd_plugin_host::manifest::embed(&component, &manifest).unwrap()
}
