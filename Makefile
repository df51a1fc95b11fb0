# Every target sets up what it needs by itself: a virtual environment, the hash-pinned lock, and where it may
# (root, apt-get) the Debian packages that some tests use. Nothing is done again while nothing changed.
#
#   make demo    the incident happens and is recovered          make test    lint, and the tests with coverage
#   make lint    ruff, mypy, import-linter                      make bench   the speed goals, beside other tools
#   make lock    renew the lock files from pyproject.toml       make clean   remove what these made
#   make soak          changes of the primary under several random faults (ARGS="--seed 7 --rounds 100"); not in `make test`
#   make unleash       the tests of the flag store Unleash against its own server (190 MB of npm packages, Node 20)
#   make localstack    AWS on this machine until Ctrl-C: S3, KMS, SNS, SQS, SSM, filled (PORT=4566)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint soak bench lock unleash clean debian localstack localstack-if-possible patroni-if-possible

VENV  := .venv
PY    := $(VENV)/bin/python
READY := $(VENV)/.ready
PEERS := build/peers-venv
CLOUD := build/localstack-venv
PATRONI := build/patroni-venv
# Test files side by side. A test waits for others nearly half of its time, so one worker more than there are processors;
# each has its own servers, so no more than four.
WORKERS := $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -lt 4 ] && echo $$((n + 1)) || echo 4)
# Where tests put their files, which live for seconds: in memory where there are 2 GB of it. On a disk the kernel is busy
# with data directories of PostgreSQL for longer than PostgreSQL is with what is in them.
MEMORY = $(shell [ -w /dev/shm ] && ! grep -q ' /dev/shm .*noexec' /proc/mounts && \
  [ "$$(df --output=avail /dev/shm | tail -n 1)" -gt 2000000 ] && echo /dev/shm || echo "$${TMPDIR:-/tmp}")
PORT  := 4566
PIP   := -m pip --disable-pip-version-check install --quiet --require-hashes

help:
	@sed -n 's/^#   *make/make/p' Makefile

demo: $(READY)
	@$(VENV)/bin/dr demo $(ARGS)

localstack: $(CLOUD)/.ready
	@$(PY) -m localstack $(PORT)

test: lint debian localstack-if-possible patroni-if-possible
	$(PY) -m coverage erase
	@place=$$(mktemp -d $(MEMORY)/dr-tests.XXXXXX); chmod 711 "$$place"; trap 'rm -rf "$$place"' EXIT; trap 'exit 130' INT TERM; \
	TMPDIR=$$place $(PY) -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder -p tests.covered $(ARGS)
	@echo "core and audit: every branch, by their own tests"
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report --fail-under=100

lint: $(READY)
	$(PY) -m ruff format --check --quiet
	$(PY) -m ruff check --quiet
	$(PY) -m mypy --no-error-summary
	@$(VENV)/bin/lint-imports --no-logo >build/imports.txt 2>&1 || { cat build/imports.txt; exit 1; }

unleash: build/unleash/.ready
	$(PY) -m pytest tests/targets/test_unleash.py tests/targets/test_flag_stores.py

soak: $(READY)
	$(PY) -m tests.soak $(ARGS)

bench: $(READY) $(PEERS)/.ready $(CLOUD)/.ready $(PATRONI)/.ready
	@[ -x /usr/lib/postgresql/15/bin/repmgr ] || $(call apt-postgresql,postgresql-15-repmgr) || \
	  echo "repmgr is not installed and cannot be from here (that takes root and Debian 12): it is not compared"
	$(PY) -m benchmarks $(ARGS)

# The first Python that runs and is new enough: a name on PATH proves nothing (version managers leave shims).
$(VENV)/bin/python:
	@set -eu; \
	for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    $(call apt,python3-venv) || { \
	      echo "$$python cannot make a virtual environment: install its venv package (Debian: apt-get install python3-venv)" >&2; \
	      exit 1; }; \
	  fi; \
	  echo "making $(VENV) with $$("$$python" --version)"; \
	  exec "$$python" -m venv $(VENV); \
	done; \
	echo "dr needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1

# The lock pins every file by hash; dr itself is linked, not copied, so an edit is live at once.
$(READY): requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing what requirements.lock pins into $(VENV)"
	@$(PY) $(PIP) -r requirements.lock
	@$(PY) -m pip --disable-pip-version-check install --quiet --no-index --no-deps --no-build-isolation --editable .
	@mkdir -p build && touch $@

$(PEERS)/.ready: benchmarks/peers.lock | $(READY)
	@echo "installing the peers of the benchmarks into $(PEERS)"
	@$(PY) -m venv --clear $(PEERS)
	@$(PEERS)/bin/python $(PIP) -r benchmarks/peers.lock
	@touch $@

$(PATRONI)/.ready: tests/patroni/patroni.lock | $(READY)
	@echo "installing Patroni, whose switchover is tested and compared, into $(PATRONI)"
	@$(PY) -m venv --clear $(PATRONI)
	@$(PATRONI)/bin/python $(PIP) -r tests/patroni/patroni.lock
	@touch $@

# Which release of LocalStack it is depends on the Python versions of this machine: localstack/install.py
$(CLOUD)/.ready: localstack/install.py $(wildcard localstack/*.lock) | $(READY)
	@$(PY) -m localstack.install $(CLOUD)
	@touch $@

build/unleash/.ready: | $(READY)
	@echo "installing Unleash's server into build/unleash"
	@mkdir -p build/unleash
	@npm install --prefix build/unleash --no-audit --no-fund --no-save --omit=dev --loglevel=error unleash-server@7.5.1
	@touch $@

localstack-if-possible:
	@$(MAKE) --no-print-directory $(CLOUD)/.ready || echo "LocalStack is not installed: its tests are skipped"

# apt: install $(1) if we may; false otherwise
apt = { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing the Debian package $(1)" && \
  { DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends $(1) || \
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends $(1); }; } \
  </dev/null >/dev/null 2>&1; }

# The same for what brings Debian's PostgreSQL, which would make a server and start it, but for this file.
NO_SERVER := /etc/postgresql-common/createcluster.d/dr.conf
apt-postgresql = { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && mkdir -p $(dir $(NO_SERVER)) && \
  echo 'create_main_cluster = false' >$(NO_SERVER) && \
  { $(call apt,$(1)); status=$$?; rm -f $(NO_SERVER); [ $$status = 0 ]; }; }

patroni-if-possible:
	@$(MAKE) --no-print-directory $(PATRONI)/.ready || echo "Patroni is not installed: its tests are skipped"

debian:
	@for program in pgbouncer haproxy strace jq; do \
	  command -v $$program >/dev/null || [ -x /usr/sbin/$$program ] || $(call apt,$$program) || \
	  echo "$$program is not installed and cannot be from here (that takes root and apt-get): its tests are skipped"; \
	done
	@[ -x /usr/sbin/sshd ] || $(call apt,openssh-server) || \
	  echo "sshd is not installed and cannot be from here (that takes root and apt-get): the tests over SSH are skipped"
	@{ command -v pgbackrest >/dev/null && [ -x /usr/lib/postgresql/15/bin/postgres ]; } || \
	  $(call apt-postgresql,pgbackrest postgresql-15) || \
	  echo "pgBackRest and PostgreSQL 15 are not installed and cannot be from here (that takes root and Debian 12):" \
	    "the restores by pgBackRest are skipped"

# Resolved for every platform and Python at once, with the hashes of the index's files and no word of which index it was.
# LocalStack's upstream is archived and newer versions of what it uses break it: its pins stay, only hashes are renewed.
lock: | $(VENV)/bin/python
	@[ -x build/lock-venv/bin/uv ] || { $(PY) -m venv build/lock-venv && \
	  build/lock-venv/bin/python -m pip --disable-pip-version-check install --quiet uv; }
	@set -eu; compile() { build/lock-venv/bin/uv pip compile --quiet --universal --python-version "$$@" \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'; }; \
	compile 3.11 --upgrade --extra ansible --extra demo --extra dev --output-file requirements.lock pyproject.toml; \
	compile 3.11 --upgrade --output-file benchmarks/peers.lock benchmarks/peers.in; \
	compile 3.11 --upgrade --output-file tests/patroni/patroni.lock tests/patroni/patroni.in; \
	compile 3.13 --output-file localstack/localstack-2026.3.0.lock localstack/localstack-2026.3.0.in; \
	compile 3.11 --output-file localstack/localstack-4.13.1.lock localstack/localstack-4.13.1.in

clean:
	rm -rf $(VENV) build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find dr tests benchmarks localstack -name __pycache__ -type d -prune -exec rm -rf {} +
