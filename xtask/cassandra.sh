#!/usr/bin/env bash
# A real Cassandra from its Maven artifacts: fetched into target/cassandra, and run as members on loopback.
#
#     cassandra.sh fetch                         fetches Cassandra with Maven (setup.sh cassandra installs it)
#     cassandra.sh node NUMBER FOLDER [LINE...]  becomes member NUMBER (1 to 3) of a cluster, in the foreground;
#                                                its data is in FOLDER, LINEs are added to its cassandra.yaml
#
# Member N is 127.0.0.1N; clients come to port 19042, so that no other Cassandra on this machine is in the way.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lib=$PWD/target/cassandra/lib
pom=xtask/cassandra/pom.xml

fail() { printf 'cassandra: %s\n' "$*" >&2; exit 1; }

fetch() {
    local stamp=target/cassandra/fetched
    cmp --silent "$pom" "$stamp" && return
    # What was left by a fetch that was interrupted, or of another version, must not be mixed in.
    rm -rf "$lib" "$stamp"
    mkdir -p "$lib"
    local log=target/cassandra/maven.log
    timeout 600 mvn --batch-mode --file "$pom" dependency:copy-dependencies \
        -Dmaven.repo.local="$PWD/target/cassandra/repository" \
        -DincludeScope=runtime -DoutputDirectory="$lib" >"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; fail "Maven could not fetch Cassandra, see $log"; }
    cp "$pom" "$stamp"
}

node() {
    export CASSANDRA_LIB=$lib CLIENT_PORT=19042 STORAGE_PORT=17000
    exec workloads/cassandra/member.sh "$(($1 - 1))" 3 "127.0.0.1$1" 127.0.0.11 "$2" "${@:3}"
}

case ${1:-} in
    fetch) fetch ;;
    node) [[ ${2:-} == [1-3] && -n ${3:-} ]] || fail "usage: cassandra.sh node NUMBER FOLDER [LINE...]"; node "${@:2}" ;;
    *) echo "usage: cassandra.sh fetch|node" >&2; exit 2 ;;
esac
