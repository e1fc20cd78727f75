#!/usr/bin/env bash
# install.sh BIN [arguments of pip install]: installs into the virtual environment of BIN, by uv where it can be had.
set -euo pipefail
bin=$1
shift
pip=("$bin/python" -m pip --quiet --disable-pip-version-check)

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
	[ -x "$bin/uv" ] || "${pip[@]}" install uv==0.13.9 2>/dev/null || true
	uv=$bin/uv
fi
[ -x "$uv" ] && "$uv" pip install --quiet --python "$bin/python" "$@" 2>/dev/null || "${pip[@]}" install "$@"
