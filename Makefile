# Everything here needs only Python 3.11 and make; `make help` lists what there is.

PYTHON ?= python3.11
UV_VERSION := 0.13.9
DATA ?= $(or $(SPANNER_DATA),data)
PORT ?= 3000
N ?= 10000000
EACH ?= 10
MIXES ?= 100
DAYS ?= 365
EVENTS ?= 2000

ENV := .venv
BIN := $(ENV)/bin
READY := $(ENV)/.ready
export DAGSTER_DISABLE_TELEMETRY := yes
# Else each of the many processes that a backfill or the suite starts compiles all of this package.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help backfill ui test test-slow test-ui bench bench-extract bench-reconcile bench-dagster bench-deliver kill-deliver planted lint format lock test-tools sample clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# The lock pins every package with its digests; uv installs it and nothing else. Compiled here, once:
# where Python writes no bytecode (PYTHONDONTWRITEBYTECODE, a read-only environment), every command
# would compile what it imports, which takes longer than what it does.
$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(ENV) (once; some hundred MB of packages) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(ENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(CURDIR)/$(ENV) $(BIN)/uv pip install --quiet --compile-bytecode \
		--require-hashes -r requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/$(ENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

sample: $(READY) ## lay out the legacy data in the box (only in the default data root)
	@if [ "$(DATA)" = data ]; then $(BIN)/python -m spanner_pipeline.sample data; fi

backfill: sample ## import all legacy usage and reconcile it (DATA=folder for your own)
	@$(BIN)/spanner-pipeline backfill --data "$(DATA)"

ui: sample ## start Dagster's web server and daemon on the same instance (PORT=3000)
	@$(BIN)/python -m spanner_pipeline.assets.instance "$(DATA)"
	@echo "Dagster is at http://127.0.0.1:$(PORT) (stop with Ctrl-C)"
	@SPANNER_DATA="$(abspath $(DATA))" DAGSTER_HOME="$(abspath $(DATA))/dagster" \
		$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

# One worker more than a small machine has cores: the browser's stories mostly wait.
test: lint ## lint, then the whole suite
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile

test-slow: $(READY) ## only the slow tests
	@$(BIN)/python -m pytest -q -m slow

test-ui: $(READY) ## only the tests that drive a browser
	@$(BIN)/python -m pytest -q -m ui

bench: $(READY) ## measure the merge beside bare engines and peers (N=10000000 events)
	@$(BIN)/python -m spanner_pipeline_tests.benchmarks $(N)

bench-extract: $(READY) ## measure a CSV's whole way into the lake beside a bare copy (N=10000000 rows)
	@$(BIN)/python -m spanner_pipeline_tests.benchmarks.importing $(N)

bench-reconcile: $(READY) ## measure a reconciliation beside a bare scan (N=10000000 events)
	@$(BIN)/python -m spanner_pipeline_tests.benchmarks.reconciling $(N)

bench-dagster: $(READY) ## measure what Dagster adds to a year of daily files (DAYS=365 EVENTS=2000 a day)
	@$(BIN)/python -m spanner_pipeline_tests.benchmarks.year --days $(DAYS) --events $(EVENTS)

bench-deliver: $(READY) ## measure a delivery beside a bare loop of the same posts (N=100000 events)
	@$(BIN)/python -m spanner_pipeline_tests.benchmarks.delivering $(if $(filter file,$(origin N)),,$(N))

kill-deliver: $(READY) ## kill deliveries at 200 random moments, and count what arrived
	@$(BIN)/python -m pytest -q -m exhaustive spanner_pipeline_tests/delivery/test_kills.py

planted: $(READY) ## plant breaks into real usage, and count the right answers (EACH=10 MIXES=100)
	@$(BIN)/python -m spanner_pipeline_tests.benchmarks.planted $(EACH) $(MIXES)

lint: $(READY) ## ruff and the type checker
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## format the code
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

test-tools: ## install what some tests need: a browser, pdftotext, LibreOffice, MariaDB (Debian, as root)
	@{ command -v chromium && command -v pdftotext && command -v soffice \
		&& command -v mariadbd && command -v mariadb-install-db; } >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends \
		chromium fonts-dejavu-core poppler-utils libreoffice-calc-nogui python3-uno \
		mariadb-server-core mariadb-client-core; }

lock: $(READY) ## renew the lock file
	@$(BIN)/uv pip compile pyproject.toml --extra demo --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --quiet --upgrade \
		--custom-compile-command 'make lock' -o requirements.lock

clean: ## delete what runs made in the data root; never your meters, sources, notes and signatures
	rm -rf "$(DATA)/lake" "$(DATA)/quarantine" "$(DATA)/staging" "$(DATA)/dagster"
	@test ! -d "$(DATA)/reports" || find "$(DATA)/reports" -type f ! -name '*.xlsx' \
		! -name notes.json ! -name signoffs.json -delete
