#!/usr/bin/env bash
# What is asked of the service, from inside of the system that boot.sh has made. The first command that fails ends it;
# the log says which.

set -euxo pipefail
cd /srv
trap 'set +x; systemctl --no-pager --full status faultd; journalctl --no-pager --boot --lines 80' ERR
export FAULTD_BUS=unix:path=/run/faultd/bus

until_so() { for _ in $(seq 300); do "$@" && return; sleep 0.1; done; return 1; }
main_pid() { systemctl show --property MainPID --value faultd; }
status() { systemctl show --property StatusText --value faultd; }
first_member() { faultctl -o json lab status | jq '.labs[0].members[0].pid'; }
# A command behind a plain ! would not end the script.
refused() { if "$@"; then return 1; fi; }
restarted_from() { systemctl --quiet is-active faultd && [[ $(main_pid) != "$1" ]]; }

# It is ready, may do what it has to, and is not heard of as dead.
systemctl is-active faultd
[[ $(status) == serving ]]
faultctl doctor || { faultctl -o json doctor; exit 1; }

# Namespaces of a lab are seen outside of the service, and those of others inside.
ip netns add somebody
faultctl lab up /usr/share/faultd/workloads/etcd
ip netns list | grep faultd-etcd-etcd0
faultctl target ls | grep netns/somebody
ip netns exec faultd-etcd true

# Faults, by all backends that there are.
for backend in relay netem edt; do
    check=$(jq --null-input --raw-output --arg backend $backend '{relay: "tap", netem: "sch_netem", edt: "sch_fq"}[$backend]')
    state=$(faultctl -o json doctor | jq --raw-output ".checks[] | select(.name == \"$check\").state")
    [[ $state == ok ]] || continue
    faultctl fault add etcd/etcd0 --delay 20ms --loss 1% --backend $backend --for 60s --detach
    faultctl fault clear
done
faultctl fault add etcd/etcd1 --pause 20ms --pause-every 1s --for 60s --detach
cd /tmp
faultctl run --cluster etcd --target leader --delay 5ms --duration 3s --warm-up 0s --keys 100
cd /srv
faultctl fault clear

# Who changed what is in the journal.
journalctl --sync
journalctl --identifier faultd-audit --output json FAULTD_METHOD=AddFault FAULTD_USER=0 | jq --exit-status .FAULTD_RESULT

# A reload.
printf '[faults]\nlongest_delay_ms = 10\n' >/etc/faultd/policy.toml
systemctl reload faultd
until_so eval '[[ $(status) == *"read anew"* ]]'
refused faultctl fault add etcd/etcd0 --delay 20ms --for 60s --detach
printf '[faults' >/etc/faultd/policy.toml
systemctl reload faultd
until_so eval '[[ $(status) == *"stays as it was"* ]]'
journalctl --sync
journalctl --unit faultd --priority err | grep 'stays as it was'
refused faultctl fault add etcd/etcd0 --delay 20ms --for 60s --detach
printf '' >/etc/faultd/policy.toml

# Labs outlive restarts and crashes; faults do not.
member=$(first_member)
systemctl restart faultd
[[ $(first_member) == "$member" ]]
faultctl fault add etcd/etcd0 --delay 20ms --for 600s --detach
killed=$(main_pid)
kill -KILL "$killed"
until_so restarted_from "$killed"
[[ $(first_member) == "$member" ]]
[[ $(faultctl -o json fault ls | jq '.faults | length') == 0 ]]

# A daemon that stands still is replaced.
stopped=$(main_pid)
kill -STOP "$stopped"
until_so restarted_from "$stopped"
[[ $(first_member) == "$member" ]]

# The system bus starts it, lets anybody ask, and root alone be it.
faultctl --bus system fault ls
refused setpriv --reuid 65534 --regid 65534 --clear-groups faultctl --bus system fault clear
refused setpriv --reuid 65534 --regid 65534 --clear-groups busctl call org.freedesktop.DBus /org/freedesktop/DBus \
    org.freedesktop.DBus RequestName su org.faultd.Engine1 0
# The call that starts it is answered, each time.
for _ in $(seq 10); do
    systemctl stop faultd
    systemctl reset-failed faultd
    busctl --timeout=15 call org.faultd.Engine1 /org/faultd/Engine1 org.faultd.Engine1.Manager ListFaults
done
systemctl is-active faultd

# Nothing is left when it is done.
faultctl lab down etcd
systemctl stop faultd
[[ $(systemctl show --property Result --value faultd) == success ]]
[[ $(ls /run/netns) == somebody ]]
[[ -z $(ip -oneline link show | grep fltd) ]]
