#!/usr/bin/env bash
# `make demo`: the main job as a person would type it, on a daemon of its own. Results go to outputs/.
#
#     demo.sh lab       on a lab of etcd: no container engine is needed
#     demo.sh docker    on the containers of workloads/etcd/compose.yaml
#
# The daemon listens on a private socket, so that nothing on this machine is asked or disturbed. However
# this ends, the cluster is taken down and the daemon ended, and it is checked that nothing is left.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kind=${1:-lab}
[[ $kind == lab || $kind == docker ]] || { echo "usage: demo.sh [lab|docker]" >&2; exit 2; }
if [[ $EUID != 0 ]]; then
    command -v sudo >/dev/null || { echo "demo: network namespaces and eBPF need root: run this as root, or install sudo" >&2; exit 1; }
    exec sudo --preserve-env=CARGO_TARGET_DIR,DOCKER_HOST -- "$0" "$@"
fi
source xtask/toolchain.sh

programs=$root/${CARGO_TARGET_DIR:-target}/release
[[ ${CARGO_TARGET_DIR:-} == /* ]] && programs=$CARGO_TARGET_DIR/release
folder=$(mktemp --directory --tmpdir faultd-demo.XXXXXX)
bus=$folder/bus
log=$folder/faultd.log
daemon=
cluster_is_up=
SECONDS=0

say() { printf '%s\n' "$*" >&2; }
faultctl() { "$programs/faultctl" --bus "unix:path=$bus" "$@"; }
shown() {
    printf '\n$ faultctl %s\n' "$*" >&2
    faultctl "$@"
}

# The cluster as a lab.
lab_up() {
    cluster_is_up=yes
    shown lab up workloads/etcd
    shown lab status
}
lab_down() { shown lab down >&2 || true; }

# The cluster in containers, of an engine that answers or of one of our own, from an image of this machine's etcd.
docker_up() {
    local engine
    cluster_is_up=yes
    engine=$(xtask/docker-engine.sh start "$folder/engine")
    eval "$engine"
    export DOCKER_HOST ETCD_IMAGE=faultd-demo:etcd
    xtask/docker-engine.sh image "$folder/engine" "$ETCD_IMAGE" etcd etcdctl
    printf '\n$ docker compose --file workloads/etcd/compose.yaml up --detach\n' >&2
    compose up --detach >&2
    wait_until_healthy
}
docker_down() {
    compose down --volumes >"$folder/compose.log" 2>&1 || cat "$folder/compose.log" >&2
    xtask/docker-engine.sh stop "$folder/engine" >&2 || true
}
compose() {
    if command -v docker-compose >/dev/null; then docker-compose --file workloads/etcd/compose.yaml "$@"
    else docker compose --file workloads/etcd/compose.yaml "$@"; fi
}
wait_until_healthy() {
    local tries
    for ((tries = 0; tries < 60; tries++)); do
        [[ $(docker ps --filter name='^etcd[0-2]$' --filter health=healthy --quiet | wc -l) != 3 ]] || return 0
        sleep 1
    done
    say "demo: etcd0 to etcd2 are not healthy after 60 s:"
    docker ps --all >&2
    return 1
}

# What there is of this cluster and of faults: namespaces, devices, processes and data.
traces() {
    local process
    find /run/netns /dev/shm -maxdepth 1 -name 'faultd-etcd*' 2>/dev/null || true
    find /sys/class/net -maxdepth 1 \( -name 'fltd-*' -o -name 'ftdock*' \)
    for process in /proc/[0-9]*; do
        [[ $(tr '\0' ' ' 2>/dev/null <"$process/cmdline") != etcd*faultd-etcd/* ]] || echo "process ${process#/proc/}"
    done
}

end_daemon() {
    [[ -n $daemon ]] || return 0
    kill -TERM "$daemon" 2>/dev/null || true
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$daemon" 2>/dev/null && say "demo: the daemon did not end within 10 s and was killed"
    wait "$daemon" 2>/dev/null || true
    daemon=
}

nothing_is_left() {
    local tries
    for ((tries = 0; tries < 20; tries++)); do
        [[ $(traces) == "$before" ]] && return 0
        sleep 0.1
    done
    say "demo: this was left behind (<: gone, >: new):"
    diff <(printf '%s\n' "$before") <(traces) >&2
}

finish() {
    local status=$?
    trap '' INT TERM
    trap - EXIT
    [[ -z $cluster_is_up ]] || "${kind}_down"
    end_daemon
    nothing_is_left || status=1
    # Whoever called with sudo owns the results.
    if [[ -n ${SUDO_UID:-} && -d outputs ]]; then chown -R "$SUDO_UID:$SUDO_GID" outputs; fi
    if [[ $status == 0 ]]; then
        say "the results are in $root/outputs"
        say "nothing is left behind: no interface, namespace or process (demo: $((SECONDS / 60)) min $((SECONDS % 60)) s)"
        rm -rf "$folder"
    else
        say "demo: ended with status $status; the daemon's log is $log"
    fi
    exit "$status"
}

# 9920 if it is free, else any port.
metrics_address() {
    if (exec 3<>/dev/tcp/127.0.0.1/9920) 2>/dev/null; then echo 127.0.0.1:0; else echo 127.0.0.1:9920; fi
}

start_daemon() {
    local metrics tries
    metrics=$(metrics_address)
    say "\$ faultd --socket $bus --metrics $metrics &"
    # A session of its own, or Ctrl-C would end the daemon before the lab is taken down.
    setsid "$programs/faultd" --socket "$bus" --state-dir "$folder/state" --metrics "$metrics" \
        --plugins "$root/target/plugins" --cache "$root/target/compiled-plugins" </dev/null >"$log" 2>&1 &
    daemon=$!
    for ((tries = 0; tries < 100; tries++)); do
        [[ -S $bus ]] && return
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.1
    done
    say "demo: faultd did not start:"
    cat "$log" >&2
    return 1
}

before=$(traces)
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# An engine must be there before the daemon, which is told by DOCKER_HOST where it is.
[[ $kind == lab ]] || "${kind}_up"
start_daemon
shown doctor
[[ $kind != lab ]] || lab_up
cluster=etcd
[[ $kind == lab ]] || { cluster=workloads/etcd; shown target ls; }
shown run --cluster "$cluster" --duration 20s --label baseline
shown run --cluster "$cluster" --target follower --delay 50ms --duration 30s --inject-at 10s --for 10s --label follower_delay50_mid
shown run --cluster "$cluster" --target leader --delay 100ms --duration 30s --inject-at 10s --for 10s --label leader_delay100_mid
shown run --cluster "$cluster" --target leader --loss 20% --duration 30s --inject-at 10s --for 10s --label leader_loss20_mid
shown results ls
"${kind}_down"
cluster_is_up=
