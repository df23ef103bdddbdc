# Everything sets itself up: Python 3.11 or newer, pip and make are all that must be there.
SHELL := /bin/sh
PY := .venv/bin/python
# Real sockets, files, processes and crashes: minutes, so not part of the quick check.
SLOWER := tests/backends tests/web tests/cli tests/sabotage tests/e2e tests/sdk
export PYTHONDONTWRITEBYTECODE := 1
export NO_PROXY := 127.0.0.1,localhost

.PHONY: run demo test check lint types floors unit bench soak faults sabotage sdk-report fmt setup setup-dev lock clean

run: setup            ## serve with a demo app that replays a captured stream
	@$(PY) -m northbound.cli serve --demo

demo: setup           ## the same on a throw-away folder; ends by itself, fails unless every callback arrived and verified
	@$(PY) -m northbound.cli demo $(DEMO)

test: check           ## everything but the long ones
	@$(PY) -m pytest $(SLOWER)
	@$(PY) -m northbound.cli vectors check

check: setup-dev       ## under a minute: format, lint, types, floors, unit, vectors, tidy
	@$(MAKE) --no-print-directory -j2 -O lint types floors unit

lint: setup-dev
	@.venv/bin/ruff format --check --quiet src tests bench
	@.venv/bin/ruff check --quiet src tests bench

types: setup-dev
	@.venv/bin/basedpyright --level error src > .venv/types.txt || { cat .venv/types.txt; exit 1; }

floors: setup-dev
	@.venv/bin/lint-imports --no-cache > .venv/floors.txt || { cat .venv/floors.txt; exit 1; }

unit: setup-dev
	@$(PY) -m pytest --ignore=tests/backends --ignore=tests/web --ignore=tests/cli --ignore=tests/e2e --ignore=tests/sabotage --ignore=tests/sdk tests

bench: setup-dev      ## the published ratios, with the machine's canaries
	@$(PY) bench/run.py $(BENCH)

soak: setup-dev       ## 200 kill -9 of each process under load
	@$(PY) -m tests.soak $(SOAK)

faults: setup-dev     ## the fault table
	@$(PY) -m pytest -m faults tests

sabotage: setup-dev   ## each one-line patch must turn its named test red
	@$(PY) tests/sabotage/run.py $(SABOTAGE)

sdk-report: setup-dev ## the vendors' own clients against a hub that serves: each action and error; fails when one is bad or missing
	@$(PY) tests/sdk/table.py $(SDK)

fmt: setup-dev
	@.venv/bin/ruff format --quiet src tests bench
	@.venv/bin/ruff check --quiet --fix src tests bench

setup:
	@tools/env.sh requirements/run.txt

setup-dev:
	@tools/env.sh requirements/dev.txt

lock:                 ## pin anew what requirements/*.in ask for
	@for name in run dev sdk-eventbridge; do python3 -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	  --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links -o requirements/$$name.txt requirements/$$name.in; done

clean:
	@rm -rf .venv .tools
