//! The Debian package as a file: its contents, their modes, and what it says of itself.

use std::fs;

use super::{Scratch, deb, have, output_of, package, program, repository};

/// Some of everything that has to be there, with mode and owner as dpkg-deb lists them.
const CONTENTS: [&str; 20] = [
    "-rwxr-xr-x root/root ./usr/sbin/faultd",
    "-rwxr-xr-x root/root ./usr/bin/faultctl",
    "-rw-r--r-- root/root ./etc/faultd/policy.toml",
    "-rw-r--r-- root/root ./usr/lib/systemd/system/faultd.service",
    "-rw-r--r-- root/root ./usr/lib/sysusers.d/faultd.conf",
    "-rw-r--r-- root/root ./usr/lib/faultd/plugins/etcd-kv.wasm",
    "-rw-r--r-- root/root ./usr/share/dbus-1/system.d/org.faultd.Engine1.conf",
    "-rw-r--r-- root/root ./usr/share/dbus-1/system-services/org.faultd.Engine1.service",
    "-rw-r--r-- root/root ./usr/share/dbus-1/interfaces/org.faultd.Engine1.Manager.xml",
    "-rw-r--r-- root/root ./usr/share/polkit-1/actions/org.faultd.Engine1.policy",
    "-rw-r--r-- root/root ./usr/share/man/man8/faultd.8.gz",
    "-rw-r--r-- root/root ./usr/share/man/man1/faultctl.1.gz",
    "-rw-r--r-- root/root ./usr/share/bash-completion/completions/faultctl",
    "-rw-r--r-- root/root ./usr/share/zsh/vendor-completions/_faultctl",
    "-rw-r--r-- root/root ./usr/share/fish/vendor_completions.d/faultctl.fish",
    "-rw-r--r-- root/root ./usr/share/faultd/grafana/dashboards/run.json",
    "-rw-r--r-- root/root ./usr/share/faultd/workloads/etcd/cluster.toml",
    "-rwxr-xr-x root/root ./usr/share/faultd/workloads/cassandra/member.sh",
    "-rw-r--r-- root/root ./usr/share/doc/faultd/copyright",
    "drwxr-xr-x root/root ./usr/lib/faultd/plugins/",
];

#[test]
fn the_package_has_everything_where_it_belongs_and_nothing_that_it_should_not_have() {
    let listing = output_of(program("dpkg-deb --contents").arg(deb()));
    let lines: Vec<String> = listing
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            [words.first(), words.get(1), words.last()]
                .into_iter()
                .flatten()
                .copied()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    for wanted in CONTENTS {
        assert!(lines.iter().any(|line| line == wanted), "no {wanted}:\n{listing}");
    }
    for line in &lines {
        let (mode, rest) = line.split_once(' ').expect("a mode");
        let known =
            ["-rw-r--r--", "-rwxr-xr-x", "drwxr-xr-x"].contains(&mode) && rest.starts_with("root/root ");
        assert!(known, "{line}");
        for unwanted in ["hostile", "/target/", "/.", ".rs"] {
            assert!(!rest.trim_start_matches("root/root ./").contains(unwanted), "{line}");
        }
    }
    let times: Vec<&str> = listing.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
    assert!(times.windows(2).all(|two| two.first() == two.last()), "one date for all: {times:?}");
}

#[test]
fn the_package_says_what_it_is_and_what_it_needs() {
    let field = |name: &str| output_of(program("dpkg-deb --field").arg(deb()).arg(name)).trim().to_owned();
    assert_eq!((field("Package"), field("Version")), ("faultd".to_owned(), "0.1.0".to_owned()));
    assert_eq!(field("Architecture"), output_of(&mut program("dpkg --print-architecture")).trim());
    let depends = field("Depends");
    for needed in ["libc6 (>= 2.", "libgcc-s1", "init-system-helpers", "systemd"] {
        assert!(depends.contains(needed), "no {needed}: {depends}");
    }
    assert!(field("Installed-Size").parse::<u64>().expect("a number") > 1000);
    let description = field("Description");
    assert!(
        description.lines().count() > 2 && description.lines().all(|line| line.len() <= 80),
        "{description}"
    );

    let scratch = Scratch::new();
    output_of(program("dpkg-deb --control").arg(deb()).arg(&scratch.0));
    let read = |name: &str| fs::read_to_string(scratch.0.join(name)).expect(name);
    assert_eq!(read("conffiles"), "/etc/faultd/policy.toml\n");
    assert!(read("md5sums").lines().all(|line| line.contains("  usr/")), "relative, and no configuration");
    for script in ["postinst", "prerm", "postrm"] {
        assert!(read(script).starts_with("#!/bin/sh\n"), "{script}");
        assert!(read(script).contains("\nset -e\n"), "{script}");
        output_of(program("sh -n").arg(scratch.0.join(script)));
    }
}

#[test]
fn the_sums_are_those_of_the_files_and_the_compressed_files_are_what_they_should_be() {
    let scratch = Scratch::new();
    output_of(program("dpkg-deb --raw-extract").arg(deb()).arg(&scratch.0));
    output_of(program("md5sum --check --quiet --strict DEBIAN/md5sums").current_dir(&scratch.0));
    let page = |path: &str| output_of(program("zcat").arg(scratch.0.join("usr/share").join(path)));
    assert!(page("man/man8/faultd.8.gz").contains(".TH faultd 8"));
    let changelog = page("doc/faultd/changelog.gz");
    assert!(changelog.starts_with("faultd (0.1.0) unstable;") && changelog.contains("\n -- "), "{changelog}");
    if have("optional: the changelog is one of Debian", &["dpkg-parsechangelog"]) {
        let file = scratch.0.join("changelog");
        fs::write(&file, changelog).expect("a file");
        let parsed = output_of(program("dpkg-parsechangelog --show-field Version --file").arg(file));
        assert_eq!(parsed.trim(), "0.1.0");
    }
    let help = output_of(std::process::Command::new(scratch.0.join("usr/bin/faultctl")).arg("--help"));
    assert!(help.contains("Usage: faultctl"), "a program that was stripped still runs: {help}");
}

#[test]
fn the_same_source_gives_the_same_bytes() {
    let scratch = Scratch::new();
    let again = package("deb", "0.1.0", &scratch.0);
    assert!(
        fs::read(again).expect("a package") == fs::read(deb()).expect("a package"),
        "two packages differ"
    );
}

#[test]
fn what_the_guide_says_is_in_the_package_is_there() {
    let guide = fs::read_to_string(repository().join("docs/install.md")).expect("the guide");
    let listing = output_of(program("dpkg-deb --contents").arg(deb()));
    let named = guide.split('`').filter(|word| word.starts_with("/usr/") || word.starts_with("/etc/"));
    let paths: Vec<&str> = named.filter(|word| !word.contains("local")).collect();
    assert!(paths.len() > 8, "{paths:?}");
    for path in paths {
        let is_there = listing.lines().any(|line| {
            let file = line.rsplit(' ').next().unwrap_or_default();
            file.trim_start_matches('.').trim_end_matches('/') == path
        });
        assert!(is_there, "{path}");
    }
}
