#!/bin/sh
# Removes what install.sh has installed.
#
#     PREFIX=/usr/local DESTDIR= ./uninstall.sh [--purge]
#
# The configuration and what faultd has written stay, unless --purge is given. Labs and faults are removed first.
set -eu
PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
list=$PREFIX/share/faultd/installed-files

if [ ! -f "$DESTDIR$list" ]; then
    echo "uninstall.sh: there is no $DESTDIR$list: nothing was installed with this PREFIX and DESTDIR" >&2
    exit 1
fi
if [ -z "$DESTDIR" ]; then
    if [ -d /run/systemd/system ]; then systemctl disable --now --quiet faultd.service || true; fi
    "$PREFIX/sbin/faultd" --cleanup || true
fi

while IFS= read -r file; do
    case $file in
        */) ;;
        *) rm -f "$DESTDIR$file" ;;
    esac
done <"$DESTDIR$list"
if [ "${1:-}" = --purge ]; then
    rm -rf "$DESTDIR/var/lib/faultd" "$DESTDIR/var/cache/faultd" "$DESTDIR/etc/faultd/policy.toml"
    rmdir "$DESTDIR/etc/faultd" 2>/dev/null || true
fi
# Folders that install.sh has made, the innermost first, as far as nobody else has put something there.
folders=$(grep '/$' "$DESTDIR$list" | LC_ALL=C sort -r)
rm -f "$DESTDIR$list" "$DESTDIR$PREFIX/share/faultd/uninstall.sh"
for folder in $folders; do
    rmdir "$DESTDIR$folder" 2>/dev/null || true
done
if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
