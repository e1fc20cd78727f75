#!/usr/bin/env bash
# The built wheel, installed into an empty environment, starts from there: migrations included.
set -euo pipefail
python=$1
work=$(mktemp -d)
trap 'kill "${sandbox:-}" "${bridge:-}" 2>/dev/null || true; rm -rf "$work"' EXIT

"$python" -m build --wheel --outdir "$work/dist" . >"$work/build.log" || { cat "$work/build.log"; exit 1; }
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$work"/dist/*.whl
cp -r config "$work/config"
cd "$work"

free_port() { "$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
export BRIDGE_PORT BRIDGE_ADMIN_PORT
BRIDGE_PORT=$(free_port) BRIDGE_ADMIN_PORT=$(free_port)
export BRIDGE_ADMIN_TOKEN=admin GITHUB_SECRET=github SHOP_SECRET=shop STRIPE_SECRET=stripe SLACK_SIGNING_SECRET=slack CRM_PASSWORD=sandbox BRIDGE_GRACE=100ms
export SUPPORT_TICKET=7T:sandbox SUPPORT_APP_TOKEN=sandbox

venv/bin/bridge check
venv/bin/bridge serve >bridge.log &
bridge=$!
for _ in $(seq 100); do
  "$python" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$BRIDGE_PORT/readyz')" 2>/dev/null && break
  kill -0 "$bridge" || { cat bridge.log; exit 1; }
  sleep 0.1
done
venv/bin/bridge webhooks list
venv/bin/bridge migrate --check
kill -TERM "$bridge"
wait "$bridge"
grep -q bridge.stopped bridge.log
venv/bin/bridge demo
echo "the wheel works"
