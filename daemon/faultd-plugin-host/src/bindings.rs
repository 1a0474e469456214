//! The bindings that wasmtime makes of `plugins/wit`, one module for each world, and who serves the imports.
#![expect(unreachable_pub, reason = "generated: the WIT is the documentation")]

pub mod driver {
    wasmtime::component::bindgen!({
        path: "../../plugins/wit",
        world: "driver",
        imports: { "faultd:plugin/http.post": async | trappable },
        exports: { default: async },
    });
}

pub mod schedule {
    wasmtime::component::bindgen!({
        path: "../../plugins/wit",
        world: "schedule",
        exports: { default: async },
        with: {
            "faultd:plugin/log@0.1.0": super::driver::faultd::plugin::log,
            "faultd:plugin/random@0.1.0": super::driver::faultd::plugin::random,
        },
    });
}
