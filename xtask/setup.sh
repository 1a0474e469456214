#!/usr/bin/env bash
# Installs what is missing to build and run faultd, and nothing that is there already.
#
#     setup.sh demo         what `make demo` needs: compilers, a linker for eBPF, etcd
#     setup.sh docker       and what `make demo-docker` needs: a container engine, compose
#     setup.sh test         and what `make test` needs: Prometheus, Redis, a second kernel
#     setup.sh fuzz         what `make demo` needs, and a C++ compiler for libFuzzer
#     setup.sh cassandra    what `make demo` needs, and Java 17 and Maven to fetch and run a Cassandra
#
# Debian packages are named before they are installed, and no service of theirs is started or enabled.
# A second call only looks. Nothing is configured outside the packages and target/tools of this folder.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source xtask/toolchain.sh

bpf_linker_version=0.13.0
policy=/usr/sbin/policy-rc.d
wanted=()
guarded=

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null; }

as_root() {
    if [[ $EUID == 0 ]]; then "$@"
    elif have sudo; then sudo -- "$@"
    else fail "cannot install packages: run this as root, or install sudo"; fi
}

# Wants Debian package $2, and those after it, if program $1 is not there.
program() { have "$1" || wanted+=("${@:2}"); }
# Wants packages that are not there, for those that are no program.
packages() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            wanted+=("$package")
    done
}

want_for_demo() {
    program gcc gcc libc6-dev
    program ld binutils
    packages libc6-dev ca-certificates
    program etcd etcd-server
    host_toolchain >/dev/null || wanted+=(rustc-web cargo-web)
    ebpf_compiler >/dev/null || wanted+=(rustc-web cargo-web libstd-rust-web-dev-bpf)
    wasm_toolchain >/dev/null || wanted+=(rustc-web cargo-web rust-web-src lld-22)
    linker || packages llvm-22-dev libpolly-22-dev libzstd-dev zlib1g-dev g++
}

want_for_fuzz() {
    want_for_demo
    program g++ g++
}

want_for_cassandra() {
    want_for_demo
    packages openjdk-17-jre-headless
    program mvn maven
}

want_for_docker() {
    want_for_demo
    engine_answers || program dockerd docker.io
    compose || program docker-compose docker-compose
    program etcdctl etcd-client
    packages busybox-static
    # The other engine, with a runtime that goes with control groups of both versions.
    program podman podman
    program runc runc
}

want_for_test() {
    want_for_docker
    program prometheus prometheus
    program promtool prometheus
    program redis-server redis-server
    program linux.uml user-mode-linux
    program modprobe kmod
    program ip iproute2
    program bpftool bpftool
    program jq jq
    program ping iputils-ping
    program curl curl
    program dbus-daemon dbus
    program busctl systemd
    program ssh openssh-client
    program sshd openssh-server
    packages python3-jeepney
    program systemd-analyze systemd
    program xmllint libxml2-utils
    program setpriv util-linux
}

# Docker's newer plugin, or the older program of its own.
compose() { have docker-compose || docker compose version >/dev/null 2>&1; }

# Any engine will do that speaks Docker's API on the address that Docker's own client would use.
engine_answers() {
    local address=${DOCKER_HOST:-unix:///var/run/docker.sock}
    [[ $address == tcp://* ]] && return 0
    [[ -S ${address#unix://} ]] && have curl &&
        curl --silent --fail --max-time 2 --unix-socket "${address#unix://}" http://engine/_ping >/dev/null
}

# Debian starts a package's services when it is installed. These are wanted for their programs only,
# so the answer to "may I start?" is no while we install; an administrator's own policy is kept.
guard_services() {
    [[ -e $policy ]] && return
    guarded=yes
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' > $policy && chmod 755 $policy"
}
unguard_services() {
    [[ -z $guarded ]] && return
    guarded=
    as_root rm -f "$policy"
}
trap unguard_services EXIT

# Nor shall they start at the next boot. Only units that came with this installation are touched.
disable_new_services() {
    local package unit
    [[ -d /run/systemd/system ]] || return 0
    for package in "$@"; do
        for unit in $(dpkg-query --listfiles "$package" | sed -n 's|^.*/systemd/system/\([^/@]*\.\(service\|socket\)\)$|\1|p'); do
            as_root systemctl --quiet disable "$unit" && say "left $unit off"
        done
    done
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get --quiet=2 --yes --no-install-recommends \
        -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@"
}
planned() { LC_ALL=C apt-get --simulate --no-install-recommends install "$@" 2>/dev/null | sed -n 's/^Inst \([^ ]*\).*/\1/p'; }
offered() { [[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) == *'Candidate: '[0-9]* ]]; }
all_offered() { local package; for package in "$@"; do offered "$package" || return 1; done; }

update_lists() { say "updating the package lists"; apt_get update >/dev/null || fail "apt-get update failed"; }

install_wanted() {
    [[ ${#wanted[@]} == 0 ]] && return
    have apt-get || fail "this is no Debian; please install by hand what these packages hold: ${wanted[*]}"
    mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | sort --unique)
    all_offered "${wanted[@]}" || update_lists
    without_debian_rust
    local new
    mapfile -t new < <(planned "${wanted[@]}")
    say "installing Debian packages, with what they depend on: ${new[*]}"
    guard_services
    # Lists that are a few weeks old name files that the mirror no longer has.
    apt_get install "${wanted[@]}" >/dev/null || { update_lists; apt_get install "${wanted[@]}" >/dev/null; } ||
        fail "apt-get could not install ${wanted[*]}"
    unguard_services
    disable_new_services "${new[@]}"
}

# Where Debian's Rust is missing or too old, rustup can do the same if it may download.
without_debian_rust() {
    [[ " ${wanted[*]} " != *" rustc-web "* ]] && return
    at_least "$(LC_ALL=C apt-cache policy rustc-web 2>/dev/null | sed -n 's/.*Candidate: //p')" "$minimum" && return
    have rustup || fail "Debian's rustc-web is older than $minimum here: enable bookworm-security, or install rustup"
    say "installing with rustup: stable, and nightly with rust-src"
    timeout 600 rustup toolchain install stable --profile minimal >/dev/null || fail "rustup could not download stable Rust"
    timeout 600 rustup toolchain install nightly --profile minimal --component rust-src >/dev/null ||
        fail "rustup could not download nightly Rust"
    mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | grep --extended-regexp --invert-match 'rust|cargo')
}

# The linker is not in Debian. It is built against the LLVM of Debian's rustc and kept in this folder.
install_bpf_linker() {
    linker && return
    have /usr/lib/llvm-22/bin/llvm-config || fail "please install bpf-linker: https://github.com/aya-rs/bpf-linker"
    say "building bpf-linker $bpf_linker_version into target/tools (2 minutes)"
    local log=target/tools/bpf-linker.log
    mkdir -p target/tools
    use_host_toolchain
    PATH=/usr/lib/llvm-22/bin:$PATH CARGO_TARGET_DIR=target/tools/build RUSTFLAGS='' cargo install bpf-linker \
        --version "$bpf_linker_version" --locked --no-default-features --features llvm-22 \
        --root target/tools >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "bpf-linker could not be built, see $log"; }
    rm -rf target/tools/build
}

case ${1:-} in
    demo | docker | fuzz | test | cassandra) "want_for_$1" ;;
    *) echo "usage: setup.sh demo|docker|fuzz|test|cassandra" >&2; exit 2 ;;
esac
install_wanted
install_bpf_linker
host=$(host_toolchain) || fail "no Rust of at least $minimum was found, nor could it be installed"
ebpf=$(ebpf_toolchain) || fail "no Rust that compiles eBPF was found, nor could it be installed"
wasm=$(wasm_toolchain) || fail "no Rust that compiles WebAssembly was found, nor could it be installed"
say "ready; Rust for the daemon: $host, for eBPF: $ebpf, for plugins: $wasm"
