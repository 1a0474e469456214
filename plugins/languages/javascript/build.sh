#!/usr/bin/env bash
# Builds the schedule in JavaScript into target/plugins-javascript/flap-js.wasm, if it is older than its sources.
# Installs what is missing: Node.js from Debian (as root or with sudo), the compiler with npm into node_modules.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../../.. && pwd)
output=$root/target/plugins-javascript
component=$output/flap-js.wasm

as_root() { if [[ $EUID == 0 ]]; then "$@"; else sudo -- "$@"; fi; }

if [[ -e $component && -z $(find . ../../wit -not -path './node_modules*' -newer "$component" -print -quit) ]]; then
    exit 0
fi
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    as_root apt-get install --yes --no-install-recommends nodejs npm
fi
if [[ ! -e node_modules/.package-lock.json || package-lock.json -nt node_modules/.package-lock.json ]]; then
    npm ci --no-audit --no-fund --loglevel=error
fi

mkdir -p "$output"
bare=$(mktemp "$output/bare.XXXXXX")
trap 'rm -f "$bare"' EXIT
# Without these the component imports nothing of WASI, which the host does not lend.
node_modules/.bin/componentize-js flap.js --wit ../../wit --world-name schedule \
    --disable stdio random clocks http fetch-event --out "$bare"
cd "$root"
cargo xtask embed-manifest "$bare" plugins/languages/javascript/plugin.toml "$component"
