//! `cargo xtask uml`: runs tests or any command on a second kernel, User Mode Linux.
//!
//! Debian's `linux.uml` is a kernel that runs as a process, with this machine's files as its root. It has
//! fq, netem and clsact but no TCX, so it tests what the machine's own kernel may not be able to.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command;
use crate::test_program::{self, Words};

const KERNEL: &str = "/usr/bin/linux.uml";
/// Where Debian keeps the kernel's modules, in a folder named as its version.
const MODULES: &str = "/usr/lib/uml/modules";
/// Cures a fault of this kernel on new processors; its comment says which.
const SHIM_SOURCE: &str = "xtask/uml-xstate.c";
const SHIM: &str = "uml-xstate.so";
/// How long a boot with all it runs may take; the test suites take eight minutes.
const LIMIT: Duration = Duration::from_secs(1500);
/// The init script prints these around the command's output, so that boot messages can be told apart.
const BEGIN: &str = "xtask-uml-begin";
const END: &str = "xtask-uml-end";

/// Whether this machine has the kernel.
pub(crate) fn is_installed() -> bool {
    Path::new(KERNEL).exists()
}

/// Runs one command there, output passed through; its exit status becomes xtask's own.
pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    exit_code_of(&[words])
}

/// Runs the tests for two kernels whose names contain one of the filters.
pub(crate) fn tests(filters: &[&str]) -> Result<ExitCode> {
    let programs = test_program::build()?.into_iter().filter(|program| program.on_two_kernels);
    exit_code_of(&programs.map(|program| program.call(filters)).collect::<Vec<_>>())
}

fn exit_code_of(commands: &[Words]) -> Result<ExitCode> {
    let skips = std::env::var_os("FAULTD_TEST_SKIPS").map(PathBuf::from);
    let status = boot(commands, skips.as_deref(), &mut |_| ())?;
    Ok(ExitCode::from(status))
}

/// Boots, runs the commands one after the other and returns the first exit status that is not 0.
///
/// Every line they write is printed with a prefix and given to `on_line` without it. Tests that skip
/// themselves say so in the file `skips`.
pub(crate) fn boot(commands: &[Words], skips: Option<&Path>, on_line: &mut dyn FnMut(&str)) -> Result<u8> {
    ensure!(is_installed(), "there is no {KERNEL}: install Debian's package user-mode-linux");
    let folder = command::root().join("target/uml").join(std::process::id().to_string());
    prepare(&folder, commands, skips)?;
    let mut kernel = start(&folder)?;
    let log = command::root().join("target/uml/boot.log");
    let outcome = follow(&mut kernel, &log, on_line);
    // Also after a time-out or a failure to read: nothing may be left running.
    kernel.kill().context("cannot end User Mode Linux")?;
    kernel.wait().context("cannot wait for User Mode Linux")?;
    let status = fs::read_to_string(folder.join("status"));
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    outcome?;
    let status =
        status.with_context(|| format!("the kernel ended before the command did, see {}", log.display()))?;
    status.trim().parse().with_context(|| format!("{status:?} is no exit status"))
}

/// Writes what the guest needs: an init script, and the modules where modprobe looks for them.
fn prepare(folder: &Path, commands: &[Words], skips: Option<&Path>) -> Result<()> {
    let version = module_version()?;
    let modules = folder.join("lib/modules");
    fs::create_dir_all(&modules).with_context(|| format!("cannot create {}", modules.display()))?;
    std::os::unix::fs::symlink(Path::new(MODULES).join(&version), modules.join(&version))
        .context("cannot link the kernel's modules")?;
    let init = folder.join("init");
    let here = std::env::current_dir().context("cannot tell the current folder")?;
    fs::write(&init, init_script(folder, &here, commands, skips)).context("cannot write the init script")?;
    command::run(command::program("chmod").arg("755").arg(&init))?;
    command::run(
        command::program("cc")
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .arg(folder.join(SHIM))
            .arg(SHIM_SOURCE),
    )
}

fn module_version() -> Result<String> {
    let mut entries = fs::read_dir(MODULES).with_context(|| format!("cannot read {MODULES}"))?;
    let Some(entry) = entries.next() else { bail!("{MODULES} is empty: reinstall user-mode-linux") };
    entry?.file_name().into_string().ok().context("the kernel's version is no UTF-8")
}

/// The guest's first process: makes the usual mounts, loads modules, runs the commands, powers off.
fn init_script(folder: &Path, here: &Path, commands: &[Words], skips: Option<&Path>) -> String {
    let quoted_path = |path: &Path| quoted(&path.to_string_lossy());
    let folder = quoted_path(folder);
    let skips =
        skips.map_or(String::new(), |file| format!("export FAULTD_TEST_SKIPS={}\n", quoted_path(file)));
    let runs: String = commands.iter().map(|words| format!("run {}\n", line(words))).collect();
    let path = quoted(&std::env::var("PATH").unwrap_or_default());
    format!(
        "{SCRIPT_HEAD}work={folder}\nexport PATH={path}:/usr/sbin:/sbin:/usr/bin:/bin\n{skips}{SCRIPT_MOUNTS}\
         cd {here}\necho {BEGIN}\n{runs}echo {END}\n{SCRIPT_TAIL}",
        here = quoted_path(here)
    )
}

/// Output goes through a pipe: on a console, programs write colours and the kernel writes in between.
const SCRIPT_HEAD: &str = "\
#!/bin/bash
set -o pipefail
failed=0
run() { \"$@\" </dev/null 2>&1 | cat || { status=$?; [[ $failed != 0 ]] || failed=$status; }; }
";
const SCRIPT_MOUNTS: &str = include_str!("uml-init.sh");
const SCRIPT_TAIL: &str = "echo $failed >\"$work/status\"\nexec /bin/busybox poweroff -f\n";

fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn start(folder: &Path) -> Result<Child> {
    let mut uml = in_the_death_of_xtask()?;
    uml.arg(KERNEL).args(["rootfstype=hostfs", "rootflags=/", "rw", "mem=1024M", "quiet", "con=null"]);
    uml.arg("con0=null,fd:1").arg(format!("init={}/init", folder.display()));
    // Its control socket would otherwise be left in the home folder.
    uml.arg(format!("uml_dir={}/", folder.display()));
    uml.env("LD_PRELOAD", folder.join(SHIM)).stdin(Stdio::null()).stdout(Stdio::piped());
    uml.spawn().context("cannot start User Mode Linux")
}

/// A command that ends with all the processes it started when xtask ends, however that happens.
///
/// The kernel keeps helpers outside its own process. In a PID namespace they end with it.
fn in_the_death_of_xtask() -> Result<Command> {
    let mut command = command::program("setpriv");
    command.args(["--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child=KILL"]);
    if command::user()? != 0 {
        command.arg("--map-root-user");
    }
    Ok(command)
}

/// Passes on what the commands write, until the guest closes its console or the time is up; the rest goes
/// to the boot log.
fn follow(kernel: &mut Child, log: &Path, on_line: &mut dyn FnMut(&str)) -> Result<()> {
    let lines = lines_of(kernel)?;
    let mut log = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    let deadline = Instant::now() + LIMIT;
    let mut inside = false;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line == BEGIN => inside = true,
            Ok(line) if line == END => inside = false,
            Ok(line) if inside => {
                println!("uml| {line}");
                on_line(&line);
            }
            Ok(line) => writeln!(log, "{line}").context("cannot write the boot log")?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => bail!("User Mode Linux was ended after {} s", LIMIT.as_secs()),
        }
    }
}

/// The console's lines, read by a thread of their own so that waiting for one can be bounded.
fn lines_of(kernel: &mut Child) -> Result<Receiver<String>> {
    let console = kernel.stdout.take().context("User Mode Linux has no console")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reaches_the_guest_as_it_was() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }

    #[test]
    fn the_init_script_runs_every_command_and_keeps_the_first_failure() {
        let commands = [vec!["false".to_owned()], vec!["true".to_owned()]];
        let script = init_script(Path::new("/w"), Path::new("/here"), &commands, Some(Path::new("/w/skips")));
        assert!(script.contains("run 'false'\nrun 'true'\n"));
        assert!(script.contains("export FAULTD_TEST_SKIPS='/w/skips'\n"));
    }
}
