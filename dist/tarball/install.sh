#!/bin/sh
# Installs faultd from this folder.
#
#     PREFIX=/usr/local DESTDIR= ./install.sh
#
# Everything goes below PREFIX, but for the configuration (/etc/faultd) and what the message bus and polkit read from
# one place only. With DESTDIR everything goes below that, for a package or an image. Nothing is started. A policy.toml
# that is there stays. The list of what was installed is kept for uninstall.sh.
set -eu
umask 022
cd "$(dirname "$0")"
PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
list=$PREFIX/share/faultd/installed-files

case $PREFIX in
    /*) ;;
    *) echo "install.sh: PREFIX is a path from the root: $PREFIX" >&2; exit 2 ;;
esac
if [ -z "$DESTDIR" ] && [ "$(id -u)" != 0 ]; then
    echo "install.sh: only root can install into the system; DESTDIR=FOLDER is for anybody" >&2
    exit 1
fi

# Where a file of this folder goes.
place() {
    case $1 in
        etc/*) echo "/$1" ;;
        usr/share/polkit-1/*) echo "/$1" ;;
        usr/share/dbus-1/system.d/*) [ "$PREFIX" = /usr ] && echo "/$1" || echo "/etc/dbus-1/system.d/${1##*/}" ;;
        # Zsh and fish of a distribution look for what comes from elsewhere in other folders.
        usr/share/zsh/vendor-completions/*) [ "$PREFIX" = /usr ] && echo "/$1" || echo "$PREFIX/share/zsh/site-functions/${1##*/}" ;;
        usr/*) echo "$PREFIX/${1#usr/}" ;;
    esac
}

# The unit names the program, and the program looks for plugins below /usr unless it is told otherwise.
unit_for_prefix() {
    sed "s|^ExecStart=/usr/sbin/faultd\$|& --plugins $PREFIX/lib/faultd/plugins|; s|/usr/sbin/|$PREFIX/sbin/|"
}

# Makes a folder, and those around it; the ones that were not there are written down with a / at the end.
made=
make_folder() {
    if [ -z "$1" ] || [ -d "$DESTDIR$1" ]; then return; fi
    make_folder "${1%/*}"
    mkdir "$DESTDIR$1"
    made="$made$1/
"
}

mkdir -p "$DESTDIR/"
make_folder "${list%/*}"
# What an earlier installation has made is still to be removed one day.
earlier=$([ ! -f "$DESTDIR$list" ] || grep '/$' "$DESTDIR$list" || true)
: >"$DESTDIR$list"
for file in $(find etc usr -type f | LC_ALL=C sort); do
    to=$(place "$file")
    make_folder "${to%/*}"
    case $file in
        etc/*) [ -e "$DESTDIR$to" ] || install -m 644 "$file" "$DESTDIR$to"; continue ;;
        */systemd/system/faultd.service)
            if [ "$PREFIX" = /usr ]; then install -m 644 "$file" "$DESTDIR$to"
            else unit_for_prefix <"$file" >"$DESTDIR$to"; chmod 644 "$DESTDIR$to"; fi ;;
        */bin/* | */sbin/*) install -m 755 "$file" "$DESTDIR$to" ;;
        *.sh) install -m 755 "$file" "$DESTDIR$to" ;;
        *) install -m 644 "$file" "$DESTDIR$to" ;;
    esac
    echo "$to" >>"$DESTDIR$list"
done
install -m 755 uninstall.sh "$DESTDIR$PREFIX/share/faultd/uninstall.sh"
printf '%s\n%s' "$earlier" "$made" | sed '/^$/d' >>"$DESTDIR$list"

[ -n "$DESTDIR" ] && exit 0
if command -v systemd-sysusers >/dev/null; then systemd-sysusers "$PREFIX/lib/sysusers.d/faultd.conf"; fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
echo "faultd is installed; 'systemctl enable --now faultd' starts it, 'faultd' does so without systemd"
