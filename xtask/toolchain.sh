#!/usr/bin/env bash
# Says which of the Rust toolchains on this machine compiles what, so that setup.sh and xtask agree.
#
#     toolchain.sh host|ebpf|wasm     prints one word from the functions below, fails if there is none
#
# Nothing here installs or downloads; the words are "what is there, in order of preference".
# setup.sh sources this file, xtask and step.sh run it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
minimum=1.95
# Programs in sbin (etcd, dockerd, ip) are not on everybody's PATH; tools built by setup.sh come first.
export PATH="$root/target/tools/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin"
# Asking rustup for a toolchain that is not there must not start a download.
export RUSTUP_AUTO_INSTALL=0

# True if version $1 is at least $2.
at_least() { printf '%s\n%s\n' "$2" "$1" | sort --version-sort --check=silent; }

# The version that "$@" --version prints as its second word, or nothing.
version_of() { "$@" --version 2>/dev/null | awk '{ print $2; exit }'; }

recent() { local version; version=$(version_of "$@") && [[ -n $version ]] && at_least "$version" "$minimum"; }

nightly() { command -v rustup >/dev/null && rustup run nightly "$@" 2>/dev/null; }

has_sources() { [[ -n $1 && -e $1/lib/rustlib/src/rust/library/Cargo.toml ]]; }

# A nightly that can build core and std itself.
nightly_with_sources() { recent nightly rustc && has_sources "$(nightly rustc --print sysroot)"; }

# Debian's rustc-web, next to a rustup or alone.
debian() { recent /usr/bin/rustc && recent /usr/bin/cargo; }

# LLVM's format changes between versions: a linker older than this one cannot read what rustc 1.95 writes.
linker() { local version; version=$(version_of bpf-linker) && [[ -n $version ]] && at_least "$version" 0.13; }

# The daemon, the command line and xtask: `path` (cargo as found on PATH) or `debian`.
host_toolchain() {
    if recent cargo && recent rustc; then echo path; elif debian; then echo debian; else return 1; fi
}

# Puts Debian's Rust first where the one on PATH is too old.
use_host_toolchain() { [[ $(host_toolchain) != debian ]] || export PATH="/usr/bin:$PATH"; }

# The eBPF programs: `nightly` with -Zbuild-std, or `debian` with its ready-made core library.
# The linker that setup.sh builds is of LLVM 22, as Debian's rustc: a nightly goes with the user's own linker.
ebpf_compiler() {
    if nightly_with_sources && [[ ! -e $root/target/tools/bin/bpf-linker ]] && linker; then
        echo nightly
    elif debian && [[ -d /usr/lib/rustlib/bpfel-unknown-none ]]; then
        echo debian
    else
        return 1
    fi
}
ebpf_toolchain() { linker && ebpf_compiler; }

# The plugins: `path` (the target is installed), `nightly` or `debian` (both with -Zbuild-std).
wasm_toolchain() {
    local sysroot
    sysroot=$(rustc --print sysroot 2>/dev/null) || sysroot=
    if recent rustc && [[ -d $sysroot/lib/rustlib/wasm32-unknown-unknown ]]; then
        echo path
    elif nightly_with_sources; then
        echo nightly
    elif debian && has_sources /usr && command -v lld-22 >/dev/null; then
        echo debian
    else
        return 1
    fi
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -uo pipefail
    case ${1:-} in
        host | ebpf | wasm) "$1_toolchain" ;;
        *) echo "usage: toolchain.sh host|ebpf|wasm" >&2; exit 2 ;;
    esac
fi
