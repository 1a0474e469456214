#!/usr/bin/env bash
# A container engine for the tests, and an image that needs no registry.
#
#     docker-engine.sh start FOLDER     prints DOCKER_HOST=... and IMAGE=...
#     docker-engine.sh image FOLDER NAME PROGRAM...    makes an image of programs of this machine
#     docker-engine.sh halt FOLDER      stops the engine that start has started, as a reboot does
#     docker-engine.sh resume FOLDER    starts it again
#     docker-engine.sh stop FOLDER      leaves nothing of it behind
#
# If an engine answers it is used, and only the image is added to it. Otherwise dockerd is started by hand
# (as root), with everything it keeps in FOLDER and a bridge of its own; it touches neither the firewall
# nor the forwarding of this machine. The containers of that engine can be reached from this machine:
#
#     eval "$(xtask/docker-engine.sh start /tmp/engine)"; export DOCKER_HOST
#     docker run --detach --name slow "$IMAGE" sleep 600
#     ping "$(docker inspect --format '{{.NetworkSettings.IPAddress}}' slow)"
#     xtask/docker-engine.sh stop /tmp/engine

set -euo pipefail
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
image=faultd-test:busybox
private_socket() { echo "unix://$folder/docker.sock"; }

fail() { printf 'docker-engine: %s\n' "$*" >&2; exit 1; }
answers() { timeout 5 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# The number of the first free name; it chooses the subnet too. No interface may be called as faultd's
# own are (fltd-), or faultd would take it for one that was left behind.
free_bridge() {
    local number
    for number in {0..9}; do
        [[ -e /sys/class/net/ftdock$number ]] || { echo "$number"; return; }
    done
    fail "ftdock0 to ftdock9 are all there: remove them with ip link del"
}

add_bridge() {
    local number
    number=$(free_bridge)
    # With an address of its own: otherwise a bridge takes the lowest of its ports', which changes when a
    # container comes or goes, and what the others send to the old one is lost.
    ip link add "ftdock$number" address "$(printf '02:fa:17:d0:0c:%02x' "$number")" type bridge
    echo "ftdock$number" >"$folder/bridge"
    ip address add "10.214.$number.1/24" dev "ftdock$number"
    ip link set "ftdock$number" up
}

start_engine() {
    command -v dockerd >/dev/null || fail "there is no dockerd: install Debian's package docker.io"
    [[ $EUID == 0 ]] || fail "dockerd must be started as root"
    add_bridge
    run_engine && return
    tail -n 5 "$folder/dockerd.log" >&2
    end_engine
    fail "dockerd did not start"
}

run_engine() {
    setsid dockerd --host "$(private_socket)" --data-root "$folder/data" --exec-root "$folder/exec" \
        --pidfile "$folder/dockerd.pid" --containerd-namespace faultd-test --bridge "$(<"$folder/bridge")" \
        --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
        --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$(<"$folder/bridge")" \
        --config-file "$folder/daemon.json" \
        </dev/null >>"$folder/dockerd.log" 2>&1 &
    local engine=$! tries
    for ((tries = 0; tries < 300; tries++)); do
        answers && return
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.1
    done
    return 1
}

import_image() {
    docker image inspect "$image" >/dev/null 2>&1 && return
    local busybox
    busybox=$(command -v busybox) || fail "there is no busybox: install Debian's package busybox-static"
    local files=$folder/image
    mkdir -p "$files/bin"
    cp "$busybox" "$files/bin/busybox"
    local name
    for name in sh sleep ping ip nc httpd wget cat; do ln -sf busybox "$files/bin/$name"; done
    tar --create --directory "$files" . | docker import --change 'ENV PATH=/bin' - "$image" >/dev/null
    echo "$image" >>"$folder/imported"
}

# An image of programs, each with the libraries that it is linked with, and a folder /data.
make_image() {
    local name=$1 program file path
    shift
    local files=$folder/image-of-programs
    rm -rf "$files"
    mkdir -p "$files/data" "$files/usr/bin" "$files/tmp"
    for program in "$@"; do
        path=$(command -v "$program") || fail "there is no program $program"
        cp "$path" "$files/usr/bin/$program"
        for file in $(ldd "$path" 2>/dev/null | grep --only-matching '/[^ )]*'); do
            mkdir -p "$files${file%/*}"
            cp --dereference "$file" "$files$file"
        done
    done
    tar --create --directory "$files" . | docker import --change 'ENV PATH=/usr/bin' - "$name" >/dev/null
    rm -rf "$files"
    echo "$name" >>"$folder/imported"
}

halt_engine() {
    local engine tries
    if engine=$(cat "$folder/dockerd.pid" 2>/dev/null); then
        kill -TERM "$engine" 2>/dev/null || true
        for ((tries = 0; tries < 300; tries++)); do
            kill -0 "$engine" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$engine" 2>/dev/null || true
    fi
}

end_engine() {
    halt_engine
    local mount name
    name=$(<"$folder/bridge")
    [[ $name == ftdock[0-9] ]] || fail "$folder/bridge names no bridge of ours"
    end_orphans "$name"
    awk -v under="$folder/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | sort --reverse |
        while read -r mount; do umount "$mount"; done
    [[ ! -e /sys/class/net/$name ]] || ip link delete "$name"
    find /sys/fs/cgroup -depth -type d -path "*/$name*" -exec rmdir {} +
    # Only where they are empty, which they are unless another engine runs.
    rmdir /run/docker/plugins /run/docker /run/containerd/* /run/containerd 2>/dev/null || true
}

# An engine that was killed leaves its helpers, their sockets and its containers behind.
end_orphans() {
    local process name=$1
    for process in /proc/[0-9]*; do
        [[ $(tr '\0' ' ' 2>/dev/null <"$process/cmdline") != *"$folder/exec/"* ]] || kill -KILL "${process#/proc/}" || true
    done
    # A process of another PID namespace is listed as 0, which for kill means the caller.
    find /sys/fs/cgroup -path "*/$name/*" -name cgroup.procs -exec cat {} + | grep --line-regexp --invert-match 0 |
        xargs --no-run-if-empty kill -KILL || true
    find "$folder/exec" -name address -exec sed 's|unix://||' {} + | xargs --no-run-if-empty rm -f
    sleep 0.2
}

start() {
    mkdir -p "$folder"
    echo '{}' >"$folder/daemon.json"
    # The caller's own engine, if there is one.
    if answers; then
        DOCKER_HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}
    else
        DOCKER_HOST=$(private_socket)
        export DOCKER_HOST
        start_engine >&2
    fi
    import_image
    printf 'DOCKER_HOST=%s\nIMAGE=%s\n' "$DOCKER_HOST" "$image"
}

stop() {
    if [[ -e $folder/bridge ]]; then
        DOCKER_HOST=$(private_socket)
        export DOCKER_HOST
        docker ps --all --quiet | xargs --no-run-if-empty docker rm --force >/dev/null || true
        end_engine
    elif [[ -e $folder/imported ]]; then
        xargs docker image rm --force <"$folder/imported" >/dev/null || true
    fi
    rm -rf "$folder"
}

halt() {
    [[ -e $folder/bridge ]] || fail "the engine of $folder is somebody else's"
    halt_engine
}

resume() {
    [[ -e $folder/bridge ]] || fail "the engine of $folder is somebody else's"
    DOCKER_HOST=$(private_socket)
    export DOCKER_HOST
    run_engine || fail "dockerd did not start again: see $folder/dockerd.log"
}

image() {
    [[ ! -e $folder/bridge ]] || { DOCKER_HOST=$(private_socket); export DOCKER_HOST; }
    make_image "$@"
}

[[ $# == 2 && $1 =~ ^(start|halt|resume|stop)$ || $# -gt 3 && $1 == image ]] ||
    { echo "usage: docker-engine.sh start|halt|resume|stop FOLDER, or image FOLDER NAME PROGRAM..." >&2; exit 2; }
folder=$(realpath --canonicalize-missing "$2")
"$1" "${@:3}"
