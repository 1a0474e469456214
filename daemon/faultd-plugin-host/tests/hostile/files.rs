//! Files that are no plugins of this contract.

use faultd_plugin_host::Problem;
use faultd_plugin_host::manifest::{ManifestError, World};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::support::{
    ENGINE, component, plan, problem, taken_apart, while_others_go_on, with_manifest, with_plain_manifest,
};

fn window() -> Vec<u8> {
    component("plugins/window")
}

fn text(component: &str) -> Vec<u8> {
    wat::parse_str(component).unwrap()
}

/// What is wrong with the file of a schedule named `window`; a good one is taken after it.
fn schedule_problem(bytes: &[u8]) -> Problem {
    let found = problem(ENGINE.load_schedule("window", bytes).err().unwrap());
    assert!(ENGINE.load_schedule("window", &window()).is_ok());
    found
}

fn driver_problem(bytes: &[u8]) -> Problem {
    problem(ENGINE.load_driver("x", bytes).err().unwrap())
}

/// A schedule named `x`, from the text of its core module.
fn schedule_of_text(core_module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/wit");
    let (package, _) = resolve.push_dir(contract).unwrap();
    let world = resolve.select_world(&[package], Some("schedule")).unwrap();
    let mut module = text(core_module);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let bare = ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap();
    with_plain_manifest(&bare, "x", World::Schedule)
}

#[test]
fn a_file_that_is_no_component_is_refused() {
    for (bytes, why) in [
        (&b""[..], "it is empty"),
        (b"#!/bin/sh\n", "it does not begin as WebAssembly does"),
        (b"\x7fELF", "it does not begin as WebAssembly does"),
        (b"(component)", "it does not begin as WebAssembly does"),
    ] {
        assert_eq!(schedule_problem(bytes), Problem::NotAComponent(why.to_owned()));
    }
    assert!(matches!(schedule_problem(b"\0asm"), Problem::NotAComponent(_)));
    let core = schedule_problem(&text("(module)"));
    assert!(matches!(&core, Problem::NotAComponent(why) if why.contains("core module")), "{core}");
}

#[test]
fn a_component_that_is_cut_off_anywhere_is_refused() {
    let whole = window();
    let some = (1..20).map(|part| whole.len() * part / 20);
    for length in some.chain([1, 4, 7, 8, 9, whole.len() - 1]) {
        let found = schedule_problem(&whole[..length]);
        let is_clear = matches!(found, Problem::NotAComponent(_) | Problem::NoWorld { .. });
        assert!(is_clear, "{length} of {} bytes: {found}", whole.len());
    }
}

/// Damage to data, or to names for people, makes a plugin that decides something else; to code, one that is refused.
#[test]
fn a_damaged_component_is_refused_or_is_a_plugin() {
    let whole = window();
    let places = (8..whole.len() - 2_000).step_by(whole.len() / 16);
    let mut refused = 0;
    for place in places {
        let mut damaged = whole.clone();
        damaged[place..place + 100].fill(0xff);
        if let Err(error) = ENGINE.load_schedule("window", &damaged) {
            assert!(matches!(problem(error), Problem::NotAComponent(_)));
            refused += 1;
        }
    }
    assert!(refused > 4, "{refused}");
}

#[test]
fn a_hundred_megabytes_of_nothing_are_refused() {
    let mut long = vec![0; 100 << 20];
    long[..8].copy_from_slice(b"\0asm\x0d\0\x01\0");
    assert!(matches!(schedule_problem(&long), Problem::NotAComponent(_)));
}

#[test]
fn a_plugin_of_the_other_world_is_told_apart_from_no_plugin() {
    let (found, wanted) = (World::Schedule, World::Driver);
    assert_eq!(driver_problem(&window()), Problem::OtherWorld { found, wanted });
    let (found, wanted) = (wanted, found);
    let driver = component("hostile-plugins/hostile-driver");
    assert_eq!(schedule_problem(&driver), Problem::OtherWorld { found, wanted });
    let none = with_plain_manifest(&text("(component)"), "x", World::Driver);
    assert_eq!(driver_problem(&none), Problem::NoWorld { wanted: World::Driver });
}

#[test]
fn imports_that_nobody_lends_are_named() {
    for import in ["wasi:random/random@0.2.0", "wasi:sockets/tcp@0.2.0", "faultd:plugin/http@0.2.0", "env"] {
        let bare = text(&format!(
            r#"(component (import "{import}" (instance)) (instance $none)
               (export "faultd:plugin/scheduler@0.2.0" (instance $none)))"#
        ));
        let expected = Problem::UnknownImport { import: import.to_owned(), world: World::Schedule };
        assert_eq!(schedule_problem(&with_plain_manifest(&bare, "window", World::Schedule)), expected);
    }
}

#[test]
fn another_version_of_the_contract_is_told() {
    for version in ["0.1.0", "0.3.0", "1.0.0"] {
        let bare = text(&format!(
            r#"(component (instance $none) (export "faultd:plugin/scheduler@{version}" (instance $none)))"#
        ));
        let found = schedule_problem(&with_plain_manifest(&bare, "window", World::Schedule));
        assert!(matches!(found, Problem::Incompatible(_)), "{found}");
        assert!(
            found.to_string().starts_with("was built for another version of the plugin interface than 0.2")
        );
    }
}

#[test]
fn an_export_of_another_shape_is_told() {
    let bare =
        text(r#"(component (instance $none) (export "faultd:plugin/scheduler@0.2.0" (instance $none)))"#);
    let found = schedule_problem(&with_plain_manifest(&bare, "window", World::Schedule));
    assert!(matches!(found, Problem::Incompatible(_)), "{found}");
}

#[test]
fn manifests_that_are_missing_twice_there_or_of_another_plugin_are_told() {
    let whole = window();
    let (bare, manifest) = taken_apart(&whole);
    assert_eq!(schedule_problem(&bare), Problem::Manifest(ManifestError::Missing));
    let twice = [whole.as_slice(), &whole[bare.len()..]].concat();
    assert_eq!(schedule_problem(&twice), Problem::Manifest(ManifestError::NotOne));
    let found = schedule_problem(&with_manifest(&whole, &[("id = \"window\"", "id = \"flap\"")]));
    assert_eq!(found, Problem::NotAsInManifest("it is \"flap\" there, and \"window\" here".to_owned()));
    let driver = [("world = \"schedule\"", "world = \"driver\"")];
    assert!(matches!(schedule_problem(&with_manifest(&whole, &driver)), Problem::NotAsInManifest(_)));
    // One that is changed after it was put in: of the same length, so that the file stays a component.
    let mut broken = whole.clone();
    let place = whole.len() - manifest.len();
    broken[place..place + 2].copy_from_slice(b"ix");
    assert!(matches!(schedule_problem(&broken), Problem::Manifest(ManifestError::Shape(_))));
}

/// What a module does before `start` counts as part of it.
#[tokio::test]
async fn computing_before_start_is_stopped() {
    let bytes = schedule_of_text(
        r#"(module
          (memory (export "memory") 1)
          (func $loop (loop $again (br $again)))
          (start $loop)
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
          (func (export "faultd:plugin/scheduler@0.2.0#start")
            (param i64 i32 i64 i32 i64 i32 i32 i32 i32) (result i32) i32.const 16)
          (func (export "faultd:plugin/scheduler@0.2.0#decide")
            (param i64 i32 i32 i32 i32 i32 i32) (result i32) i32.const 32))"#,
    );
    let plugin = ENGINE.load_schedule("x", &bytes).unwrap();
    let found = problem(while_others_go_on(plugin.start(plan(Vec::new()))).await.err().unwrap());
    assert_eq!(found, Problem::OutOfFuel { call: "start", fuel: 500_000_000 });
}

/// More memory, tables or instances than the host gives are refused when the plugin is started.
#[tokio::test]
async fn a_module_that_begins_with_too_much_memory_is_stopped() {
    let bytes = schedule_of_text(
        r#"(module
          (memory (export "memory") 60000)
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
          (func (export "faultd:plugin/scheduler@0.2.0#start")
            (param i64 i32 i64 i32 i64 i32 i32 i32 i32) (result i32) i32.const 16)
          (func (export "faultd:plugin/scheduler@0.2.0#decide")
            (param i64 i32 i32 i32 i32 i32 i32) (result i32) i32.const 32))"#,
    );
    let plugin = ENGINE.load_schedule("x", &bytes).unwrap();
    let found = problem(while_others_go_on(plugin.start(plan(Vec::new()))).await.err().unwrap());
    assert_eq!(found, Problem::OutOfMemory { call: "start", bytes: 64 << 20 });
}
