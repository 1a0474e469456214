//! The bindings that wit-bindgen makes of `plugins/wit`, one module for each world.

/// The world `driver`.
pub mod driver {
    wit_bindgen::generate!({
        path: "../wit",
        world: "driver",
        pub_export_macro: true,
        export_macro_name: "export_driver_world",
        default_bindings_module: "faultd_plugin_sdk::bindings::driver",
    });
}

/// The world `schedule`, with the host's interfaces taken from `driver`.
pub mod schedule {
    wit_bindgen::generate!({
        path: "../wit",
        world: "schedule",
        pub_export_macro: true,
        export_macro_name: "export_schedule_world",
        default_bindings_module: "faultd_plugin_sdk::bindings::schedule",
        additional_derives: [PartialEq],
        with: {
            "faultd:plugin/log@0.2.0": super::host::log,
            "faultd:plugin/random@0.2.0": super::host::random,
        },
    });
}

/// The interfaces that the host lends.
pub use driver::faultd::plugin as host;
