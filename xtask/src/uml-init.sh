# Part of the guest's init script, see uml.rs; $work is a folder of the host's. /proc, /sys, /dev and /run
# belong to this kernel (it mounts /dev itself) and hide the host's; everything else is the host's own.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null
mkdir -p /run/tmp /run/netns
export TMPDIR=/run/tmp HOME=/run/tmp

# The kernel loads what it lacks through this script, as the modules are not where modprobe looks.
printf '#!/bin/sh\nexec modprobe -d "%s" "$@"\n' "$work" >/run/modprobe
chmod 755 /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
for module in veth bridge 8021q tun sch_ingress sch_fq sch_netem cls_bpf act_bpf; do
    /run/modprobe "$module" || echo "there is no module $module"
done
ip link set lo up
