//! From what was found to what is wrong with it, and what to do: pure, so that each has a test.

use faultd_api::{
    doctor::{Check, Choice, Problem},
    names::DEFAULT_POLICY,
};

use super::surroundings::{PluginsProblem, Surroundings};

/// Fewer files than this are not enough for a big cluster: each client and each rule has some.
const FEW_FILES: u64 = 4096;

/// What was found.
pub(super) struct Findings<'a> {
    pub(super) checks: &'a [Check],
    pub(super) choices: &'a [Choice],
    pub(super) leftovers: &'a [String],
    pub(super) surroundings: &'a Surroundings,
    /// Whether the policy lets the caller add faults.
    pub(super) may_inject: bool,
}

impl Findings<'_> {
    /// What is wrong, the worst first.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.hopeless().collect();
        problems.extend(self.checks.iter().filter(|check| check.state != "ok").filter_map(of_check));
        problems.extend(of_surroundings(self.surroundings));
        problems.extend(self.of_leftovers());
        if !self.may_inject {
            problems.push(Problem::warning(
                "the policy does not let you add faults and start runs",
                format!(
                    "name your user or group under 'inject' in [access] of {DEFAULT_POLICY}, or call faultctl with sudo"
                ),
            ));
        }
        problems.sort_by_key(|problem| problem.severity != faultd_api::doctor::Severity::Error);
        problems
    }

    /// Faults that nothing here can carry out.
    fn hopeless(&self) -> impl Iterator<Item = Problem> {
        let hopeless = self.choices.iter().filter(|choice| choice.backend == "none");
        hopeless.map(|choice| {
            let fix = match choice.fault.as_str() {
                "loss" | "duplicate" | "corrupt silently" => {
                    "boot a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF (Linux 5.15 or newer), and run faultd as root"
                }
                _ => {
                    "load one of the modules that can do it: 'sudo modprobe -a sch_fq sch_netem tun', then restart faultd"
                }
            };
            Problem::error(format!("nothing here can carry out {}: {}", choice.fault, choice.reason), fix)
        })
    }

    fn of_leftovers(&self) -> Option<Problem> {
        let count = self.leftovers.len();
        let things = if count == 1 { "thing is" } else { "things are" };
        (count > 0).then(|| {
            Problem::warning(
                format!(
                    "{count} {things} left over of a faultd that was killed, or of another one that lives"
                ),
                "stop every faultd and call 'sudo faultd --cleanup'; it takes labs down, too",
            )
        })
    }
}

/// A check that is not ok; nothing for one that says nothing about what can be done.
fn of_check(check: &Check) -> Option<Problem> {
    let Check { name, detail, .. } = check;
    let (effect, fix) = match name.as_str() {
        "programs" => {
            let what = format!("the kernel does not load the eBPF programs: {detail}");
            let fix = "run faultd as root, on a kernel with CONFIG_BPF_SYSCALL; in a container give it CAP_BPF, \
                       CAP_NET_ADMIN and CAP_SYS_ADMIN";
            return Some(Problem::error(what, fix));
        }
        "tcx" => (
            "programs stay attached when faultd is killed, and rules end by their lease",
            "boot Linux 6.6 or newer to have them vanish with the daemon",
        ),
        // Only where tcx is missing is it needed; then there is no way at all, which was said.
        "clsact" => return None,
        "tap" => ("there is no relay to delay packets", "call 'sudo modprobe tun' and restart faultd"),
        "sch_netem" => (
            "there is no netem, and correlated jitter needs it or the relay",
            "call 'sudo modprobe sch_netem' (Debian and Ubuntu: linux-modules-extra) and restart faultd",
        ),
        "sch_fq" => (
            "there is no fq, and delays need netem or the relay",
            "call 'sudo modprobe sch_fq' and restart faultd",
        ),
        "btf" => (
            "the kernel does not describe its types",
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y; nothing is lost without",
        ),
        "cgroup freezer" => (
            "processes cannot be paused",
            "mount the control groups: 'sudo mount -t cgroup2 none /sys/fs/cgroup', or boot with \
             systemd.unified_cgroup_hierarchy=1",
        ),
        "cgroup cpu" => (
            "processes cannot be throttled",
            "have the cpu controller in /sys/fs/cgroup/cgroup.controllers: boot without cgroup_disable=cpu and with \
             systemd.unified_cgroup_hierarchy=1",
        ),
        "containers" => (
            "no container engine answers, and containers cannot be named",
            "start it: 'sudo systemctl start docker', or set DOCKER_HOST to its socket for faultd",
        ),
        other => {
            let what = format!("{other} does not work: {detail}");
            return Some(Problem::warning(what, "see 'faultctl doctor' for what was tried"));
        }
    };
    Some(Problem::warning(format!("{effect} ({name}: {detail})"), fix))
}

fn of_surroundings(found: &Surroundings) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !found.is_root {
        problems.push(Problem::error(
            "faultd does not run as root",
            "start it with 'sudo systemctl start faultd', or 'sudo faultd'",
        ));
    }
    if let Some(files) = found.open_files.filter(|files| *files < FEW_FILES) {
        problems.push(Problem::warning(
            format!("faultd may have only {files} files open, too few for many clients and targets"),
            "set LimitNOFILE=65536 in the unit of faultd, or call 'ulimit -n 65536' before faultd",
        ));
    }
    problems.extend(found.plugins_problem.as_ref().map(|problem| of_plugins(problem, found)));
    problems.extend(found.cache_problem.as_ref().map(|reason| {
        let directory = &found.cache_directory;
        Problem::warning(
            format!("compiled plugins are not kept: {reason}"),
            format!(
                "make it root's alone: 'sudo install -d -m 0700 -o root {directory}', or name another with --cache"
            ),
        )
    }));
    problems
}

fn of_plugins(problem: &PluginsProblem, found: &Surroundings) -> Problem {
    let directory = &found.plugins_directory;
    match problem {
        PluginsProblem::Unreadable(reason) => Problem::error(
            format!("there are no plugins: {directory}: {reason}"),
            "install the package's plugins there, or start faultd with --plugins DIRECTORY",
        ),
        PluginsProblem::Empty => Problem::error(
            format!("there are no plugins in {directory}: no run can begin, and no lab can serve"),
            "put NAME.wasm files there, or start faultd with --plugins DIRECTORY",
        ),
        PluginsProblem::OpenToOthers => Problem::warning(
            format!("others than root can put plugins into {directory}"),
            format!("call 'sudo chown root {directory} && sudo chmod go-w {directory}'"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use faultd_api::doctor::Severity;

    use super::*;

    fn sound() -> Surroundings {
        Surroundings {
            is_root: true,
            open_files: Some(65536),
            plugins_directory: "/plugins".into(),
            plugins_problem: None,
            cache_directory: "/cache".into(),
            cache_problem: None,
        }
    }

    fn check(name: &str, state: &str) -> Check {
        Check { name: name.into(), state: state.into(), detail: "why".into() }
    }

    fn choice(fault: &str, backend: &str) -> Choice {
        Choice { fault: fault.into(), backend: backend.into(), reason: "why".into() }
    }

    fn problems(checks: &[Check], choices: &[Choice], surroundings: &Surroundings) -> Vec<Problem> {
        Findings { checks, choices, leftovers: &[], surroundings, may_inject: true }.problems()
    }

    #[test]
    fn a_sound_host_has_none() {
        let checks =
            ["programs", "tcx", "clsact", "tap", "cgroup cpu", "containers"].map(|name| check(name, "ok"));
        assert_eq!(problems(&checks, &[choice("loss", "ebpf")], &sound()), []);
    }

    #[test]
    fn each_check_that_failed_has_a_fix_of_its_own() {
        let cases = [
            ("programs", Severity::Error, "CONFIG_BPF_SYSCALL"),
            ("tcx", Severity::Warning, "Linux 6.6"),
            ("tap", Severity::Warning, "modprobe tun"),
            ("sch_netem", Severity::Warning, "modprobe sch_netem"),
            ("sch_fq", Severity::Warning, "modprobe sch_fq"),
            ("btf", Severity::Warning, "CONFIG_DEBUG_INFO_BTF"),
            ("cgroup freezer", Severity::Warning, "mount -t cgroup2"),
            ("cgroup cpu", Severity::Warning, "cgroup.controllers"),
            ("containers", Severity::Warning, "systemctl start docker"),
            ("anything new", Severity::Warning, "faultctl doctor"),
        ];
        for (name, severity, fix) in cases {
            let found = problems(&[check(name, "missing")], &[], &sound());
            assert_eq!((found.len(), found[0].severity), (1, severity), "{name}");
            assert!(found[0].fix.contains(fix) && found[0].what.contains("why"), "{found:?}");
        }
        assert_eq!(problems(&[check("clsact", "missing")], &[], &sound()), []);
    }

    #[test]
    fn what_nothing_can_carry_out_is_an_error_with_what_is_needed() {
        for (fault, fix) in [("loss", "CONFIG_NET_CLS_BPF"), ("rate", "modprobe -a")] {
            let found = problems(&[], &[choice(fault, "none")], &sound());
            assert_eq!(found[0].severity, Severity::Error);
            assert!(found[0].fix.contains(fix), "{found:?}");
        }
    }

    #[test]
    fn what_is_wrong_around_the_daemon_has_a_fix_too() {
        let sound = sound;
        let plugins = |problem| Surroundings { plugins_problem: Some(problem), ..sound() };
        let cases = [
            (Surroundings { is_root: false, ..sound() }, Severity::Error, "sudo systemctl start faultd"),
            (Surroundings { open_files: Some(1024), ..sound() }, Severity::Warning, "LimitNOFILE"),
            (
                Surroundings { cache_problem: Some("unsafe".into()), ..sound() },
                Severity::Warning,
                "install -d -m 0700 -o root /cache",
            ),
            (plugins(PluginsProblem::Unreadable("gone".into())), Severity::Error, "--plugins DIRECTORY"),
            (plugins(PluginsProblem::Empty), Severity::Error, "NAME.wasm"),
            (plugins(PluginsProblem::OpenToOthers), Severity::Warning, "chmod go-w /plugins"),
        ];
        for (surroundings, severity, fix) in cases {
            let found = problems(&[], &[], &surroundings);
            assert_eq!((found.len(), found[0].severity), (1, severity), "{found:?}");
            assert!(found[0].fix.contains(fix), "{found:?}");
        }
    }

    #[test]
    fn leftovers_and_a_policy_that_says_no_are_warnings_and_errors_come_first() {
        let surroundings = Surroundings { is_root: false, ..sound() };
        let leftovers = ["device fltd0".to_owned()];
        let findings = Findings {
            checks: &[],
            choices: &[],
            leftovers: &leftovers,
            surroundings: &surroundings,
            may_inject: false,
        };
        let found = findings.problems();
        let fixes: Vec<&str> = found.iter().map(|problem| problem.fix.as_str()).collect();
        assert_eq!(found[0].severity, Severity::Error);
        assert!(fixes[1].contains("faultd --cleanup") && fixes[2].contains("under 'inject'"), "{fixes:?}");
    }

    #[test]
    fn what_to_do_is_one_line() {
        for name in ["programs", "cgroup freezer", "cgroup cpu"] {
            let found = problems(&[check(name, "missing")], &[], &sound());
            assert!(!found[0].fix.contains('\n') && !found[0].fix.contains("  "), "{found:?}");
        }
    }
}
