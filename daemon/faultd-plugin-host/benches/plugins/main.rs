//! `make bench`, the plugins' part: what it costs that drivers and schedules are WebAssembly. The driver `etcd-kv`
//! against the same requests from native code in one run on one etcd, taking turns; medians are compared. Prints a
//! table and writes it as JSON.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark that cannot be set up has failed; figures are for people"
)]

#[path = "../../tests/plugins/built.rs"]
#[expect(dead_code, clippy::unwrap_used, clippy::panic, reason = "shared with the tests")]
mod built;
#[path = "../../tests/plugins/etcd_cluster.rs"]
#[expect(dead_code, clippy::unwrap_used, clippy::panic, reason = "shared with the tests")]
mod etcd_cluster;
mod loading;
mod native;
mod schedules;
mod wasm;

use std::path::Path;
use std::time::Duration;

use etcd_cluster::EtcdCluster;
use faultd_plugin_host::PluginEngine;
use serde_json::{Value, json};

/// How long each variant works at a time.
const TURN: Duration = Duration::from_secs(4);
/// Turns of each variant.
const TURNS: usize = 5;
/// Size of a value.
const VALUE_BYTES: u32 = 100;
/// Number of keys.
const KEYS: u64 = 10_000;

/// What some clients did in one turn.
struct Done {
    per_second: f64,
    p50: Duration,
}

impl Done {
    fn of(mut latencies: Vec<Duration>, elapsed: Duration) -> Self {
        latencies.sort_unstable();
        let p50 = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
        Self { per_second: latencies.len() as f64 / elapsed.as_secs_f64(), p50 }
    }
}

/// The key after this one: any order will do that is the same for both.
fn next_key(key: u64) -> u64 {
    (key * 7_919 + 104_729) % KEYS
}

/// A figure, and the bound that it is to reach.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// At least, or at most, this.
    bound: Option<(bool, f64)>,
}

#[tokio::main]
async fn main() {
    let cluster = EtcdCluster::start(1);
    let mut figures = Vec::new();
    schedules::measure(&mut figures).await;
    loading::measure(&mut figures);
    let plugin = PluginEngine::new().expect("an engine").load_driver("etcd-kv", &built::shipped("etcd-kv"));
    let plugin = plugin.expect("the driver that ships");
    wasm::wait_until_it_serves(&plugin, &cluster.members).await;
    for clients in [10, 300] {
        compare(&mut figures, &plugin, &cluster, clients).await;
    }
    write(&figures);
}

async fn compare(
    figures: &mut Vec<Figure>,
    plugin: &faultd_plugin_host::DriverPlugin,
    cluster: &EtcdCluster,
    clients: usize,
) {
    let address = cluster.members[0].address;
    let before = resident_bytes();
    let mut wasm = wasm::Clients::new(plugin, &cluster.members, clients).await;
    let memory = resident_bytes().saturating_sub(before) as f64 / clients as f64;
    let mut native = native::Clients::new(address, clients).await;
    let (mut of_wasm, mut of_native) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        of_native.push(native.work(TURN).await);
        of_wasm.push(wasm.work(TURN).await);
    }
    let per_second = |turns: &[Done]| median(turns.iter().map(|done| done.per_second));
    let p50 = |turns: &[Done]| median(turns.iter().map(|done| done.p50.as_secs_f64()));
    let name = |what: &str| format!("{clients} clients: {what}");
    tell(figures, &name("operations a second, native"), per_second(&of_native), "1/s", None);
    tell(figures, &name("operations a second, WASM"), per_second(&of_wasm), "1/s", None);
    let share = per_second(&of_wasm) / per_second(&of_native);
    tell(figures, &name("operations, WASM / native"), share, "", Some((true, 0.9)));
    let share = p50(&of_wasm) / p50(&of_native);
    tell(figures, &name("median latency, WASM / native"), share, "", Some((false, 1.1)));
    tell(figures, &name("memory of a client before its first operation"), memory / 1024.0, "KiB", None);
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What of this process is in memory.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4096
}

fn tell(figures: &mut Vec<Figure>, name: &str, value: f64, unit: &'static str, bound: Option<(bool, f64)>) {
    let verdict = bound.map_or_else(String::new, |(at_least, bound)| {
        let is_met = if at_least { value >= bound } else { value <= bound };
        let (sign, verdict) = (if at_least { ">=" } else { "<=" }, if is_met { "reached" } else { "MISSED" });
        format!("{sign} {bound}  {verdict}")
    });
    println!("{name:<62} {value:>12.3} {unit:<6} {verdict}");
    figures.push(Figure { name: name.to_owned(), value, unit, bound });
}

fn write(figures: &[Figure]) {
    let figure = |figure: &Figure| {
        let target = figure.bound.map(|(at_least, bound)| json!({ "at_least": at_least, "bound": bound }));
        json!({ "name": figure.name, "value": figure.value, "unit": figure.unit, "target": target })
    };
    let document = json!({ "figures": figures.iter().map(figure).collect::<Vec<Value>>() });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    std::fs::create_dir_all(&folder).expect("target/bench");
    std::fs::write(folder.join("plugins.json"), document.to_string()).expect("target/bench/plugins.json");
    println!("written to {}", folder.join("plugins.json").display());
}
