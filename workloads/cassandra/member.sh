#!/usr/bin/env bash
# Becomes one member of a Cassandra cluster, in the foreground: cluster.toml starts the members of a lab with it.
#
#     member.sh NUMBER COUNT ADDRESS SEED FOLDER [LINE...]
#
# It is member NUMBER (from 0) of COUNT, listens on ADDRESS, hears of the others from SEED and keeps everything in
# FOLDER; LINEs are added to its cassandra.yaml. Cassandra's jars are in CASSANDRA_LIB, in a lib folder of
# CASSANDRA_HOME, or where `make cassandra` puts them. From outside come too:
#     CLIENT_PORT, STORAGE_PORT   its ports (9042 and 7000)
#
# Tokens are given and members wait for nobody but the seed, so that three of them are up within a minute.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
client_port=${CLIENT_PORT:-9042}
storage_port=${STORAGE_PORT:-7000}

fail() { printf 'cassandra: %s\n' "$*" >&2; exit 1; }
[[ $# -ge 5 ]] || { echo "usage: member.sh NUMBER COUNT ADDRESS SEED FOLDER [LINE...]" >&2; exit 2; }
number=$1 count=$2 address=$3 seed=$4
mkdir -p "$5"
folder=$(cd "$5" && pwd)
shift 5

# Cassandra 5.0 wants Java 11 or 17.
java_17() {
    local java
    for java in "${JAVA_HOME:-/nowhere}/bin/java" /usr/lib/jvm/java-17-openjdk-*/bin/java java; do
        [[ $("$java" -version 2>&1) == *'version "17'* ]] && { command -v "$java"; return; }
    done
    return 1
}

jars() {
    local folder
    for folder in "${CASSANDRA_LIB:-}" "${CASSANDRA_HOME:+$CASSANDRA_HOME/lib}" "$here/../../target/cassandra/lib"; do
        [[ -n $folder && -d $folder ]] && { cd "$folder" && pwd; return; }
    done
    return 1
}

# Every member has the same share of the ring. The arithmetic wraps at 2^64, as tokens do.
token() { echo $((-9223372036854775808 + number * (9223372036854775807 / count * 2 + 1))); }

configuration() {
    cat <<YAML
cluster_name: faultd
num_tokens: 1
initial_token: $(token)
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider: [{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{seeds: "$seed:$storage_port"}]}]
listen_address: $address
rpc_address: $address
storage_port: $storage_port
ssl_storage_port: $((storage_port + 1))
native_transport_port: $client_port
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
    <file>$folder/system.log</file>
    <encoder><pattern>%-5level %date{ISO8601} %logger{0} %msg%n</pattern></encoder>
  </appender>
  <appender name="output" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{ISO8601} %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="file"/><appender-ref ref="output"/></root>
</configuration>
XML
}

# A member that cannot reach its seed within the (short) ring delay gives up.
wait_for_seed() {
    local tries
    for ((tries = 0; tries < 1200; tries++)); do
        (exec 3<>"/dev/tcp/$seed/$storage_port") 2>/dev/null && return
        sleep 0.1
    done
    fail "the seed does not answer at $seed:$storage_port"
}

java=$(java_17) || fail "there is no Java 17 (Debian package openjdk-17-jre-headless)"
lib=$(jars) || fail "there are no jars of Cassandra: run make cassandra, or set CASSANDRA_HOME"
configuration "$@" >"$folder/cassandra.yaml"
logging >"$folder/logback.xml"
mapfile -t options < <(grep --invert-match '^#' "$here/java.options")
[[ $address == "$seed" ]] || wait_for_seed
exec "$java" "${options[@]}" \
    -Dcassandra.config="file://$folder/cassandra.yaml" -Dcassandra.storagedir="$folder" \
    -Dlogback.configurationFile="$folder/logback.xml" -Dcassandra.logdir="$folder" \
    -Djava.io.tmpdir="$folder" -XX:ErrorFile="$folder/java-error.log" \
    -classpath "$folder:$lib/*" org.apache.cassandra.service.CassandraDaemon
