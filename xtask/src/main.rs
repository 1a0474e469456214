//! `cargo xtask`: builds what cargo alone cannot (eBPF programs, plugins), runs every test and every check.
//! It is a developer's tool and the only part of the project, labs apart, that starts other programs.

#![forbid(unsafe_code)]

mod bench;
mod check;
mod command;
mod ebpf;
mod fuzz;
mod package;
mod plugins;
mod suite;
mod tally;
mod test_program;
mod tidy;
mod toolchain;
mod torture;
mod uml;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND
  ebpf               build the eBPF programs into target/ebpf/faultd-ebpf
  plugins            build the plugins into target/plugins/NAME.wasm
  embed-manifest COMPONENT PLUGIN_TOML OUT
                     put a manifest into a component that another tool has made
  test [--with-checks]
                     run every test, and the checks if wanted; the last line is the sum
  bench [PART...]    measure the datapath on two kernels, and plugins, or parts of that
  deb [--version VERSION] [--output DIRECTORY]
                     pack what is built as a Debian package into target/packages
  tarball [--version VERSION] [--output DIRECTORY]
                     the same as a tarball with an install.sh
  fuzz [SECONDS]     let every fuzz target run for so long
  torture [MINUTES]  run the long form of the test that tortures the daemon; so long a soak
  check              format, lints, licences and tidiness
  uml [FILTER...]    run the tests for two kernels in User Mode Linux
  uml -- COMMAND...  run any command there";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["ebpf"] => ebpf::build(),
        ["plugins"] => plugins::build(),
        ["embed-manifest", component, manifest, output] => {
            plugins::embed_manifest(component, manifest, output)
        }
        ["test"] => suite::run(false),
        ["test", "--with-checks"] => suite::run(true),
        ["bench", parts @ ..] => bench::run(parts),
        ["deb", options @ ..] => package::deb(options),
        ["tarball", options @ ..] => package::tarball(options),
        ["fuzz"] => fuzz::run(fuzz::SECONDS),
        ["fuzz", seconds] if seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0) => {
            fuzz::run(seconds.parse().unwrap_or(fuzz::SECONDS))
        }
        ["torture"] => torture::run(torture::MINUTES),
        ["torture", minutes] if minutes.parse::<u32>().is_ok_and(|minutes| minutes > 0) => {
            torture::run(minutes.parse().unwrap_or(torture::MINUTES))
        }
        ["check"] => Ok(check::run()),
        ["uml", "--", command @ ..] if !command.is_empty() => uml::run(command),
        ["uml", filters @ ..] => uml::tests(filters),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
