#!/usr/bin/env bash
# Becomes the systemd of a system of its own: this machine's files with a package over them, all that is written in
# memory. Called with all namespaces but that of users unshared, by service.rs; ends with whoever called it.
#
#     boot.sh FOLDER
#
# FOLDER has `package` (unpacked), `units` (for /etc/systemd/system), and is /srv in there; `root` and `upper` are made.

set -euo pipefail
folder=$1
mount --make-rprivate /
mkdir "$folder/upper" "$folder/root"
mount -t tmpfs tmpfs "$folder/upper"
mkdir "$folder/upper/files" "$folder/upper/work"
# The package is in / already, and so cannot be a layer of its own beside it.
cp -r --preserve=mode "$folder/package/." "$folder/upper/files/"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper/files,workdir=$folder/upper/work" "$folder/root"
cd "$folder/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/net dev/pts dev/shm
for node in null zero full random urandom tty net/tun; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
mount -t tmpfs tmpfs dev/shm
mount -t devpts devpts dev/pts
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir -p srv old
mount --bind "$folder" srv
# Nothing of what this machine starts at boot, but for what is in `units`.
rm -rf etc/systemd/system var/lib/faultd
mkdir etc/systemd/system
cp -r "$folder/units/." etc/systemd/system/
# Nor what changes the kernel for all.
for unit in systemd-{sysctl,modules-load,binfmt,remount-fs,tmpfiles-setup-dev,udevd,udev-trigger,random-seed}.service \
    proc-sys-fs-binfmt_misc.automount systemd-journald-audit.socket; do
    ln -s /dev/null "etc/systemd/system/$unit"
done
pivot_root . old
umount --lazy /old
# As systemd has it on any other machine.
mount --make-rshared /
ip link set lo up
touch /srv/booted
export container=test
exec /lib/systemd/systemd --system --unit=faultd-test.target --log-target=console --show-status=no \
    </dev/null >/srv/systemd.log 2>&1
