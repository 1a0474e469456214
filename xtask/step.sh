#!/usr/bin/env bash
# Runs one step of the Makefile: names it, says once a minute that it still runs, and how long it took.
#
#     step.sh [--last] 'what it does' COMMAND ARGUMENTS...
#
# After the --last step nothing more is said: the command's own last line shall be the last.

set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/toolchain.sh"
use_host_toolchain

last=
if [[ $1 == --last ]]; then
    last=yes
    shift
fi
what=$1
shift
elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }
# `read` on a pipe that nobody writes to is a sleep that ends with its shell; sleep(1) would stay behind
# and hold the caller's pipe open.
heartbeat() {
    local never
    exec {never}<> <(:)
    while ! read -r -t 60 -u "$never"; do printf '... %s, %s so far\n' "$what" "$(elapsed)" >&2; done
}

printf '==> %s\n' "$what" >&2
SECONDS=0
heartbeat &
trap 'kill $!' EXIT
"$@"
status=$?
[[ $status == 0 ]] && outcome=done || outcome="failed with status $status"
[[ -n $last ]] || printf '    %s: %s in %s\n' "$what" "$outcome" "$(elapsed)" >&2
exit "$status"
