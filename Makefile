# Everything a developer types. `make test` and `make demo` need nothing but a bare
# Debian 12: the first use sets up .venv, and whatever else is missing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
ARGS ?=
# One process more than there are processors: many tests wait for a server or a clock.
SPREAD = -n $$(( $$(nproc) + 1 )) --dist worksteal
HEART := objects payloads pages repository durable retention

.PHONY: help setup test faults faults-full coverage mutants mutants-full bench demo lint types man format clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14
	echo "ARGS='...' is handed on: make test ARGS='-k lock -x'"

setup: .venv/ready .venv/tools ## make .venv, install what the tests need

test: .venv/ready .venv/tools ## run the tests
	$(BIN)/python -m pytest $(SPREAD) $(ARGS)

faults: .venv/ready .venv/tools ## only the tests that kill, cut the power and fill the disk
	$(BIN)/python -m pytest $(SPREAD) tests/faults -m faults $(ARGS)

faults-full: .venv/ready .venv/tools ## the same at every call, state, byte and size: takes hours
	ANKIBAK_FAULTS=full $(BIN)/python -m pytest tests/faults -m faults $(ARGS)
	ANKIBAK_SCHEMA_CASES=120 $(BIN)/python -m pytest -s tests/web/test_schema.py
	$(BIN)/python -m tests.fuzz
	$(BIN)/python -m tests.mutants
	$(BIN)/python -m tests.mutants.generated

coverage: .venv/ready .venv/tools ## fail where a branch of the heart is taken by no test
	$(BIN)/python -m pytest $(SPREAD) -m "not faults" --cov=anki_backup --cov-branch --cov-report= $(ARGS)
	$(BIN)/python -m coverage report --show-missing --fail-under=100 --include="$$(printf 'anki_backup/%s.py,' $(HEART))"

mutants: .venv/ready .venv/tools ## break the code on purpose and see a test fail
	$(BIN)/python -m tests.mutants $(ARGS)

mutants-full: .venv/ready .venv/tools ## change all that can be changed of the heart, and print the score: half an hour
	$(BIN)/python -m tests.mutants.generated $(ARGS)

bench: .venv/ready ## measure, beside restic and borg
	@$(apt)
	need restic:restic borg:borgbackup zstd:zstd
	$(BIN)/python -m tests.benchmarks.bench $(ARGS)

demo: .venv/ready ## a tour on an account made for it
	$(BIN)/ankibak demo $(ARGS)

lint: .venv/ready ## look for what ruff finds wrong
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/ready ## check the types
	$(BIN)/mypy

man: .venv/ready ## write the manual pages from the commands
	$(BIN)/python docs/manual.py

format: .venv/ready ## let ruff mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove .venv and every cache
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find anki_backup tests -name __pycache__ -prune -exec rm -rf {} +

# Defines `install PACKAGE...`, and `need PROGRAM:PACKAGE...` that installs what is not there.
# Neither asks for a password: where it can't be had, the tests that need it skip.
define apt
install() {
	command -v apt-get >/dev/null || return 1
	as_root=
	if [ "$$(id -u)" -ne 0 ]; then sudo -n true 2>/dev/null || return 1; as_root="sudo -n"; fi
	$$as_root apt-get update -qq || true
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$$@" </dev/null >/dev/null
}
need() {
	missing=()
	for pair in "$$@"; do command -v "$${pair%%:*}" >/dev/null || missing+=("$${pair##*:}"); done
	[ "$${#missing[@]}" -eq 0 ] || install "$${missing[@]}" ||
		echo "go on without $${missing[*]}; to have it: sudo apt-get install $${missing[*]}" >&2
}
endef

.venv/ready: pyproject.toml
	@$(apt)
	find_python() {
		for name in python3 python3.14 python3.13 python3.12 python3.11; do
			"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
			command -v "$$name" && return
		done
		return 1
	}
	make_venv() {
		python=$$(find_python) && "$$python" -m venv --clear .venv
	}
	# One that is there and works is kept: a changed pyproject.toml costs seconds, not minutes.
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then
		make_venv >/dev/null 2>&1 || { install python3-venv && make_venv; } || {
			echo "a Python from 3.11 on with its venv module is needed: sudo apt-get install python3-venv" >&2
			exit 1
		}
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

.venv/tools: .venv/ready
	@$(apt)
	need strace:strace zstd:zstd sqlite3:sqlite3 git:git promtool:prometheus mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs chromium:chromium man:man-db bwrap:bubblewrap systemd-analyze:systemd faketime:faketime
	touch $@
