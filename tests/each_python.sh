#!/usr/bin/env bash
# Runs the quick tests on each Python that the bridge runs on and that is here, each in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

for minor in 11 12 13 14; do
	export PYENV_VERSION=3.$minor  # where pyenv has it; nobody else looks at that
	python=python3.$minor
	"$python" -c "" 2>/dev/null || continue  # not here, or only the name of it
	venv=.venv
	if [ "$(.venv/bin/python -c 'import sys; print(sys.version_info.minor)')" != "$minor" ]; then
		venv=.venv/python3.$minor
		[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
		tests/install.sh "$venv/bin" --require-hashes -r requirements-dev.lock
		tests/install.sh "$venv/bin" --no-deps --editable .
	fi
	echo "Python 3.$minor:"
	"$venv/bin/python" -m pytest --quiet --numprocesses auto --dist worksteal -m quick
done
