//! `make bench`: what the datapath costs and how exact it is, as ratios within one run, because the
//! figures of a shared machine mean little on their own. Prints a table and writes it as JSON. Words on the
//! command line name the parts to be measured; without any, all are.
//!
//! Everything is measured between two hosts on a bridge; variants take turns, and medians are compared.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark that cannot be set up has failed; figures are for people"
)]

mod exactness;
mod loss;
mod many_rules;
mod onset;
mod small_packets;
mod throughput;
mod yardstick;

use std::{env, fs, path::PathBuf};

use faultd_kernel::{
    datapath::{Datapath, HoldingKind},
    journal::Journal,
    probe::Capabilities,
};
use faultd_testkit::{capabilities, ebpf_object, hosts::VethPairHosts, rules::holding_kinds};
use serde_json::{Value, json};

/// A datapath and two hosts.
struct Bench {
    datapath: Datapath,
    hosts: VethPairHosts,
    capabilities: Capabilities,
    figures: Vec<Figure>,
}

/// One figure, with what is to be reached.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    target: Option<Target>,
}

#[derive(Clone, Copy)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!(">= {bound}"),
            Self::AtMost(bound) => format!("<= {bound}"),
        }
    }
}

impl Bench {
    /// The devices that this kernel has, best first.
    fn kinds(&self) -> Vec<HoldingKind> {
        holding_kinds(&self.capabilities)
    }

    /// A figure that was noted.
    fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    fn note(&mut self, name: impl Into<String>, value: f64, unit: &'static str, target: Option<Target>) {
        let figure = Figure { name: name.into(), value, unit, target };
        println!("{}", line(&figure));
        self.figures.push(figure);
    }
}

fn line(figure: &Figure) -> String {
    let verdict = figure.target.map_or(String::new(), |target| {
        let met = if target.is_met(figure.value) { "reached" } else { "MISSED" };
        format!("{:>10}  {met}", target.text())
    });
    format!("{:<66} {:>12.3} {:<6} {verdict}", figure.name, figure.value, figure.unit)
}

type Part = fn(&mut Bench);

const PARTS: [(&str, Part); 6] = [
    ("exactness", exactness::measure),
    ("onset", onset::measure),
    ("loss", loss::measure),
    ("small-packets", small_packets::measure),
    ("throughput", throughput::measure),
    ("many-rules", many_rules::measure),
];

fn main() {
    let capabilities = capabilities("the benchmark").expect("a kernel that faultd works on");
    let datapath = Datapath::start(&ebpf_object(), &capabilities, Journal::nowhere()).expect("a datapath");
    datapath.keep_spare();
    let hosts = VethPairHosts::create();
    datapath.prepare_interface(&hosts.left.outside).expect("ready");
    println!("Linux {}", capabilities.kernel_release);
    let mut bench = Bench { datapath, hosts, capabilities, figures: Vec::new() };
    let asked: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    for (name, measure) in PARTS {
        if asked.is_empty() || asked.iter().any(|word| word == name) {
            println!("-- {name}");
            measure(&mut bench);
        }
    }
    write(&bench);
    bench.datapath.shutdown().expect("a clean end");
}

/// Beside what was built: `target/bench/datapath-<kernel>.json`.
fn write(bench: &Bench) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench"));
    fs::create_dir_all(&folder).expect("a folder");
    let figures: Vec<Value> = bench
        .figures
        .iter()
        .map(|figure| {
            json!({
                "name": figure.name,
                "value": figure.value,
                "unit": figure.unit,
                "target": figure.target.map(Target::text),
                "reached": figure.target.map(|target| target.is_met(figure.value)),
            })
        })
        .collect();
    let kernel = &bench.capabilities.kernel_release;
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let report = json!({ "kernel": kernel, "cpus": cpus, "load": load.trim(), "figures": figures });
    let path = folder.join(format!("datapath-{kernel}.json"));
    fs::write(&path, report.to_string()).expect("written");
    println!("written to {}", path.display());
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that this ratio of all values does not exceed.
fn quantile(values: &[f64], ratio: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let place = ((values.len() - 1) as f64 * ratio).round() as usize;
    values[place]
}
