# Everything a developer does here. Needs make and a Python >= 3.11 with venv; the rest is set up in .venv, pinned and hashed.

VENV  := .venv
BIN   := $(VENV)/bin
# An environment knows its own path: in a checkout that was moved or copied it is made anew.
STAMP := $(VENV)/.made-for-$(shell pwd | cksum | cut -d ' ' -f 1)
UV    ?= uv
ARGS  ?=

.DEFAULT_GOAL := help
.PHONY: help venv test lint format demo bench bench-send bench-index bench-search bench-size fuzz torture soak constraints clean
.DELETE_ON_ERROR:

help:  ## show these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP)  ## set up .venv from constraints.txt; afterwards .venv/bin/postroom is the command

$(STAMP): constraints.txt pyproject.toml
	@set -eu; \
	for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	    echo 'make: no Python >= 3.11 with venv was found (Debian: apt-get install python3-venv); name one: make PYTHON=/path/to/python3' >&2; \
	    exit 1; \
	fi; \
	echo "setting up $(VENV) with $$($$found --version)"; \
	$$found -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Workers take two seconds to start, and servers of their own: for a part of the suite one process is quicker.
test: $(STAMP)  ## run the tests; one of them: make test ARGS='tests/pop3 -k stls'
	@$(BIN)/python -m pytest $(or $(ARGS),--numprocesses auto --maxprocesses 4 --dist worksteal)

lint: $(STAMP)  ## ruff (all rules, and the format) and mypy (strict)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(STAMP)  ## put the code into the format that lint wants
	@$(BIN)/ruff check --select I --fix .
	@$(BIN)/ruff format .

demo: $(STAMP)  ## see it work: a daemon between two loopback servers with sample mail
	@$(BIN)/postroom demo

bench: $(STAMP)  ## measure polls beside mpop, fetchmail, getmail6, then sending; some of the polls: ARGS='--only a,c'
	@$(BIN)/python -m tests.benchmarks.bench_fetch $(ARGS)
	@$(if $(ARGS),true,$(BIN)/python -m tests.benchmarks.bench_send)
	@$(if $(ARGS),true,$(BIN)/python -m tests.benchmarks.bench_command)

bench-send: $(STAMP)  ## measure sending beside smtplib, msmtp and smtp-source; some of it: ARGS='--only i,l --rounds 2'
	@$(BIN)/python -m tests.benchmarks.bench_send $(ARGS)

bench-search: $(STAMP)  ## measure searches in a million messages, made once in .cache/, beside notmuch: ARGS='--messages 20000 --each'
	@$(BIN)/python -m tests.benchmarks.bench_search $(ARGS)

bench-index: $(STAMP)  ## measure the index beside notmuch and mu, where they are installed (ARGS='--rounds 1 --alone')
	@$(BIN)/python -m tests.benchmarks.bench_index $(ARGS)

bench-size: $(STAMP)  ## measure the octets of a database for one octet of mail: raw, columns and search index together
	@$(BIN)/python -m tests.benchmarks.bench_size $(ARGS)

fuzz: $(STAMP)  ## feed POP3 and the parser what nobody would say (ARGS='--seconds 600 session'); needs CPython 3.11 to 3.13
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes --requirement tests/fuzz/requirements.txt
	@$(BIN)/python -m tests.fuzz $(ARGS)

torture: $(STAMP)  ## kill fetches and drains at random instants, drain with several daemons; one of them: ARGS='send --kills 20'
	@$(BIN)/python -m tests.torture $(ARGS)

soak: $(STAMP)  ## two weeks of a house in ten minutes, everything failing at times; shorter: ARGS='--days 2 --minutes 2'
	@$(BIN)/python -m tests.soak $(ARGS)

# One resolution for every supported Python. The file holds names, versions and hashes: no address, no path.
constraints:  ## pin the newest releases that pyproject.toml allows (needs uv)
	@printf 'hatchling\neditables\n' | $(UV) pip compile pyproject.toml - --group dev --extra postgres --extra proxy --extra keyring --extra dkim --extra attachments --extra metrics --universal \
	    --python-version 3.11 --upgrade --generate-hashes --no-header --no-annotate --quiet --output-file constraints.txt

clean:  ## remove .venv and everything that tools left behind
	@rm -rf $(VENV) build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
