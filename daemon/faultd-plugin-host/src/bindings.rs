//! The bindings that wasmtime makes of `plugins/wit`, one module for each world, and who serves the imports.
#![expect(unreachable_pub, reason = "generated: the WIT is the documentation")]

pub mod driver {
    wasmtime::component::bindgen!({
        path: "../../plugins/wit",
        world: "driver",
        imports: {
            "faultd:plugin/log.write": trappable,
            "faultd:plugin/http.send": async | trappable,
            "faultd:plugin/streams.[static]connection.open": async | trappable,
            "faultd:plugin/streams.[method]connection.write": async | trappable,
            "faultd:plugin/streams.[method]connection.read": async | trappable,
        },
        exports: { default: async },
        with: {
            "faultd:plugin/streams.connection": crate::streams::MemberStream,
        },
    });
}

pub mod schedule {
    wasmtime::component::bindgen!({
        path: "../../plugins/wit",
        world: "schedule",
        exports: { default: async },
        with: {
            "faultd:plugin/log@0.2.0": super::driver::faultd::plugin::log,
            "faultd:plugin/random@0.2.0": super::driver::faultd::plugin::random,
        },
    });
}
