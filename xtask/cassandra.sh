#!/usr/bin/env bash
# A real Cassandra from its Maven artifacts: fetched into target/cassandra, and run as members on loopback.
#
#     cassandra.sh fetch                         fetches Cassandra with Maven (setup.sh cassandra installs it)
#     cassandra.sh node NUMBER FOLDER [LINE...]  becomes member NUMBER (1 to 9) of a cluster, in the foreground;
#                                                its data is in FOLDER, LINEs are added to its cassandra.yaml
#
# Member N is 127.0.0.1N; clients come to port 19042, so that no other Cassandra on this machine is in the way.
# Tokens are given and members do not wait for each other, so that three of them are up within a minute.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lib=$PWD/target/cassandra/lib
pom=xtask/cassandra/pom.xml

fail() { printf 'cassandra: %s\n' "$*" >&2; exit 1; }

# Cassandra 5.0 wants Java 11 or 17.
java_17() {
    local java
    for java in /usr/lib/jvm/java-17-openjdk-*/bin/java java; do
        [[ $("$java" -version 2>&1) == *'version "17'* ]] && { command -v "$java"; return; }
    done
    return 1
}

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

configuration() {
    local number=$1 folder=$2 address=127.0.0.1$1
    shift 2
    # A third of the ring for each of three members; more members split what is there.
    local tokens=(x -9223372036854775808 -3074457345618258603 3074457345618258602)
    cat <<YAML
cluster_name: faultd
num_tokens: 1
initial_token: ${tokens[$number]:-$((number * 1000000007))}
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider: [{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{seeds: "127.0.0.11:17000"}]}]
listen_address: $address
rpc_address: $address
storage_port: 17000
ssl_storage_port: 17001
native_transport_port: 19042
data_file_directories: [$folder/data]
commitlog_directory: $folder/commitlog
hints_directory: $folder/hints
saved_caches_directory: $folder/saved_caches
cdc_raw_directory: $folder/cdc
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_segment_size: 8MiB
disk_optimization_strategy: ssd
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
file_cache_size: 32MiB
networking_cache_size: 16MiB
concurrent_reads: 4
concurrent_writes: 4
YAML
    printf '%s\n' "$@"
}

logging() {
    cat <<XML
<configuration>
  <appender name="file" class="ch.qos.logback.core.FileAppender">
    <file>$1/system.log</file>
    <encoder><pattern>%-5level %date{ISO8601} %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="file"/></root>
</configuration>
XML
}

node() {
    local number=$1 folder java options
    mkdir -p "$2"
    folder=$(cd "$2" && pwd)
    java=$(java_17) || fail "there is no Java 17 (Debian package openjdk-17-jre-headless)"
    [[ -e $lib ]] || fail "there is no $lib: run xtask/cassandra.sh fetch"
    configuration "$number" "$folder" "${@:3}" >"$folder/cassandra.yaml"
    logging "$folder" >"$folder/logback.xml"
    mapfile -t options < <(grep --invert-match '^#' xtask/cassandra/java.options)
    exec "$java" "${options[@]}" \
        -Dcassandra.config="file://$folder/cassandra.yaml" -Dcassandra.storagedir="$folder" \
        -Dlogback.configurationFile="$folder/logback.xml" -Dcassandra.logdir="$folder" \
        -Djava.io.tmpdir="$folder" -XX:ErrorFile="$folder/java-error.log" \
        -classpath "$folder:$lib/*" org.apache.cassandra.service.CassandraDaemon
}

case ${1:-} in
    fetch) fetch ;;
    node) [[ ${2:-} == [1-9] && -n ${3:-} ]] || fail "usage: cassandra.sh node NUMBER FOLDER [LINE...]"; node "${@:2}" ;;
    *) echo "usage: cassandra.sh fetch|node" >&2; exit 2 ;;
esac
