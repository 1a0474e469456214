//! Which shared libraries a program needs, and the Debian packages that have them: read from the program, so that a
//! dependency that comes with a new crate is not forgotten.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command;

/// What the C library's parts are called; they are all in one package.
const OF_LIBC: [&str; 7] =
    ["libc.so", "libm.so", "libdl.so", "librt.so", "libpthread.so", "ld-linux-", "libutil.so"];

/// The packages that programs depend on, as a control file names them.
pub(super) fn packages(programs: &[PathBuf]) -> Result<Vec<String>> {
    let mut packages = BTreeSet::new();
    let mut newest = (0, 0);
    for program in programs {
        for library in needed(&readelf(program, "--dynamic")?) {
            packages.insert(package_of(&library)?);
        }
        newest = newest.max(libc_version(&readelf(program, "--version-info")?));
    }
    let with_version = |package: &str| match package {
        "libc6" => format!("libc6 (>= {}.{})", newest.0, newest.1),
        package => package.to_owned(),
    };
    Ok(packages.into_iter().map(with_version).collect())
}

fn readelf(program: &Path, what: &str) -> Result<String> {
    command::output_of(command::program("readelf").env("LC_ALL", "C").args(["--wide", what]).arg(program))
        .context("readelf is in Debian's package binutils")
}

/// From lines such as `0x0001 (NEEDED)  Shared library: [libc.so.6]`.
fn needed(dynamic: &str) -> Vec<String> {
    let lines = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    lines.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned())).collect()
}

fn package_of(library: &str) -> Result<&'static str> {
    match library {
        "libgcc_s.so.1" => Ok("libgcc-s1"),
        "libstdc++.so.6" => Ok("libstdc++6"),
        "libz.so.1" => Ok("zlib1g"),
        library if OF_LIBC.iter().any(|part| library.starts_with(part)) => Ok("libc6"),
        library => bail!("{library} is of no known package: name it in xtask/src/package/libraries.rs"),
    }
}

/// The newest version of the C library whose symbols are used: from words such as `GLIBC_2.34`.
fn libc_version(versions: &str) -> (u32, u32) {
    let words = versions.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
    let numbers = words.filter_map(|word| {
        let mut parts = word.strip_prefix("GLIBC_")?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    numbers.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_readelf_says_and_unknown_ones_are_refused() {
        let dynamic = " 0x0000000000000001 (NEEDED)             Shared library: [libgcc_s.so.1]\n\
                       0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]\n\
                       0x000000000000000c (INIT)               0x1000\n";
        assert_eq!(needed(dynamic), ["libgcc_s.so.1", "libc.so.6"]);
        assert_eq!(package_of("ld-linux-x86-64.so.2").unwrap(), "libc6");
        assert!(package_of("libssl.so.3").unwrap_err().to_string().contains("libssl.so.3"));
    }

    #[test]
    fn the_newest_symbol_says_which_c_library_is_needed() {
        let versions = "  0x0010:   Name: GLIBC_2.9  Flags: none  Version: 3\n  0x0020: Name: GLIBC_2.34 Flags\n\
                        004: 5 (GLIBC_2.2.5)  6 (GCC_3.0)";
        assert_eq!(libc_version(versions), (2, 34));
        assert_eq!(libc_version(""), (0, 0));
    }
}
