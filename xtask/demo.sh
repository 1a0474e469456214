#!/usr/bin/env bash
# `make demo`: the main job as a person would type it, on a daemon of its own. Results go to outputs/.
#
#     demo.sh lab          on a lab of etcd: no container engine is needed
#     demo.sh docker       on the containers of workloads/etcd/compose.yaml
#     demo.sh cassandra    on a lab of Cassandra
#
# The daemon listens on a private socket, so that nothing on this machine is asked or disturbed. However
# this ends, the cluster is taken down and the daemon ended, and it is checked that nothing is left.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kind=${1:-lab}
[[ $kind == lab || $kind == docker || $kind == cassandra ]] ||
    { echo "usage: demo.sh [lab|docker|cassandra]" >&2; exit 2; }
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

# etcd as a lab.
lab_up() {
    cluster_is_up=yes
    shown lab up workloads/etcd
    shown lab status
}
lab_down() { shown lab down >&2 || true; }
lab_runs() { etcd_runs etcd; }

# Cassandra as a lab. It has no leader: what differs is whether the slow member is the clients' coordinator. A
# quorum is what waits for others; a member that is asked for its own copy alone does not.
cassandra_up() {
    cluster_is_up=yes
    shown lab up workloads/cassandra
    shown lab status
}
cassandra_down() { shown lab down >&2 || true; }
cassandra_runs() {
    local load='--cluster cassandra --via member --workload mix --driver-set consistency=quorum'
    local middle='--duration 30s --inject-at 10s --for 10s'
    # A Java that has just begun becomes faster for a while.
    shown run $load --warm-up 20s --duration 20s --label baseline
    shown run $load --target member:other --delay 10ms $middle --label replica_delay10_mid
    shown run $load --target member:serving --delay 10ms $middle --label coordinator_delay10_mid
    shown run $load --target member:serving --loss 20% $middle --label coordinator_loss20_mid
}

# etcd in containers, of an engine that answers or of one of our own, from an image of this machine's etcd.
start_engine() {
    local engine
    cluster_is_up=yes
    engine=$(xtask/docker-engine.sh start "$folder/engine")
    eval "$engine"
    export DOCKER_HOST
}
docker_up() {
    export ETCD_IMAGE=faultd-demo:etcd
    xtask/docker-engine.sh image "$folder/engine" "$ETCD_IMAGE" etcd etcdctl
    printf '\n$ docker compose --file workloads/etcd/compose.yaml up --detach\n' >&2
    compose up --detach >&2
    wait_until_healthy
    shown target ls
}
docker_down() {
    compose down --volumes >"$folder/compose.log" 2>&1 || cat "$folder/compose.log" >&2
    xtask/docker-engine.sh stop "$folder/engine" >&2 || true
}
docker_runs() { etcd_runs workloads/etcd; }
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

etcd_runs() {
    local middle='--duration 30s --inject-at 10s --for 10s'
    shown run --cluster "$1" --duration 20s --label baseline
    shown run --cluster "$1" --target follower --delay 50ms $middle --label follower_delay50_mid
    shown run --cluster "$1" --target leader --delay 100ms $middle --label leader_delay100_mid
    shown run --cluster "$1" --target leader --loss 20% $middle --label leader_loss20_mid
}

# What there is of this cluster and of faults: namespaces, devices, processes and data.
traces() {
    local process
    find /run/netns /dev/shm -maxdepth 1 \( -name 'faultd-etcd*' -o -name 'faultd-cassandra*' \) 2>/dev/null || true
    find /sys/class/net -maxdepth 1 \( -name 'fltd-*' -o -name 'ftdock*' \)
    for process in /proc/[0-9]*; do
        [[ $(tr '\0' ' ' 2>/dev/null <"$process/cmdline") != @(etcd*faultd-etcd/*|*faultd-cassandra/*Cassandra*) ]] ||
            echo "process ${process#/proc/}"
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

# The daemon is told by DOCKER_HOST where the engine is.
[[ $kind != docker ]] || start_engine
start_daemon
shown doctor
"${kind}_up"
"${kind}_runs"
shown results ls
"${kind}_down"
cluster_is_up=
