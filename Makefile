# What a fresh machine needs: make, and Python 3.11 or newer with venv. Everything else is
# installed into .venv, in exactly the versions (and with the hashes) of the files in deploy/.
#
#   make demo     play the scenes of the demo and judge them          (under a minute)
#   make test     linters, types, import rules, then all tests
#   make bench    measure accept and full path; writes bench-results/
#   make bench-compare BASE=COMMIT   measure this tree against a commit, in turns, as ratios with
#                      95 % intervals; ARGS='--only cli serve --rounds 10' measures a part
#   make compose-test  the same story in containers, which `make test` does not need; with something
#                      else than Docker: COMPOSE=podman-compose CONTAINER=podman
#   make crash-points   every flow on every kind of ticket system, killed, stopped and frozen at
#                      every I/O step, and at pairs of them; ARGS='--flow grant' plays a part
#   make event-flood    100,000 ticket events, most of them wrong       (some minutes)
#   make soak           10,000 requests while processes and Redis are killed, workers frozen and
#                      replies dropped; ARGS='--seed 7' repeats a run          (some minutes)
#   make fuzz           a million inputs for each parser of what strangers send (some minutes);
#                      ARGS='--seed 7' repeats a run
#   make mutants        small changes of what decides, and whether the tests notice           (long)
#                      ARGS='proxy/flow.py' measures one module
#   make model          the store's steps against a pure model, 2,000 examples  (some minutes)
#   make open-tickets   100,000 open tickets, 100 decided per interval       (some minutes)
#   make lint     the first part of `make test` alone
#   make lock     move the lock files to the newest versions that pyproject.toml allows
#   make clean    remove all that the targets above have made, .venv included
#
# Another interpreter: make PYTHON=python3.12 test. Other arguments for pytest, such as one folder
# in one process: make PYTEST_ARGS='tests/store -x' test.

PYTEST_ARGS ?= -n 2

FIND_PYTHON = python=$${PYTHON:-$$(sh deploy/find-python.sh)}
INSTALL = .venv/bin/python -m pip --disable-pip-version-check install --quiet
LOCKED = $(INSTALL) --require-hashes
PROJECT = $(INSTALL) --no-deps --no-build-isolation --editable .

.PHONY: demo test bench bench-compare compose-test crash-points soak event-flood fuzz mutants lint lock clean model open-tickets

demo: .venv/runs
	.venv/bin/approval-proxy demo

test: lint
	.venv/bin/pytest $(PYTEST_ARGS)

bench: .venv/runs
	.venv/bin/python -m tests.bench.run

bench-compare: .venv/runs
	.venv/bin/python -m tests.bench.compare $(or $(BASE),$(error say which commit: BASE=...)) $(ARGS)

compose-test:
	deploy/test-compose.sh

crash-points: .venv/develops
	.venv/bin/python -m tests.support.faults.enumeration $(ARGS)

event-flood: .venv/develops
	.venv/bin/python -m tests.support.faults.event_flood $(ARGS)

soak: .venv/develops
	.venv/bin/python -m tests.support.faults.soak $(ARGS)

mutants: .venv/develops
	.venv/bin/python -m tests.support.mutants $(ARGS)

fuzz: .venv/develops
	.venv/bin/python -m tests.fuzzing.run $(ARGS)

model: .venv/develops
	MODEL_EXAMPLES=$(or $(MODEL_EXAMPLES),2000) .venv/bin/pytest tests/store/test_model.py

open-tickets: .venv/develops
	.venv/bin/python -m tests.support.faults.open_tickets $(ARGS)

lint: .venv/develops
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# pip is the last thing that `venv` installs, so an attempt that failed half-way is made again.
.venv/bin/pip:
	@$(FIND_PYTHON) && rm -rf .venv && echo "$$python -m venv .venv" && "$$python" -m venv .venv

.venv/runs: pyproject.toml deploy/requirements.lock deploy/requirements-build.lock | .venv/bin/pip
	$(LOCKED) -r deploy/requirements.lock -r deploy/requirements-build.lock
	$(PROJECT)
	@touch $@

.venv/develops: pyproject.toml deploy/requirements-dev.lock | .venv/bin/pip
	$(LOCKED) -r deploy/requirements-dev.lock
	$(PROJECT)
	@touch $@

# One resolution for every supported Python, Linux and macOS; the two smaller files follow the
# largest. The addresses that packages come from stay out of the files: pip's own settings say them.
COMPILE = pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
FOLLOW = --constraints deploy/requirements-dev.lock
# What pip needs to install the project itself, editable.
BUILD = hatchling editables
# Version 48 was the last with a wheel for Macs with an Intel processor; the others get the newest.
CRYPTOGRAPHY = 'cryptography<49; sys_platform == "darwin" and platform_machine == "x86_64"' \
	'cryptography>=49; sys_platform != "darwin" or platform_machine != "x86_64"'

lock:
	@$(FIND_PYTHON) && tool=$$(mktemp -d) && trap 'rm -rf "$$tool"' EXIT \
	&& "$$python" -m venv "$$tool" && "$$tool/bin/pip" install --quiet uv && uv="$$tool/bin/uv" \
	&& compile() { printf '%s\n' "$$@" | "$$uv" $(COMPILE) $$from -o "$$to" - >/dev/null; } \
	&& from='pyproject.toml --group dev' to=deploy/requirements-dev.lock \
	&& compile $(BUILD) $(CRYPTOGRAPHY) \
	&& from='pyproject.toml $(FOLLOW)' to=deploy/requirements.lock && compile $(CRYPTOGRAPHY) \
	&& from='$(FOLLOW)' to=deploy/requirements-build.lock && compile $(BUILD) \
	&& from= to=tests/e2e/canaille.lock && compile 'canaille[oidc,server]' \
	&& to=tests/e2e/roundup.lock && compile roundup

clean:
	rm -rf .venv .venv-bench dist build demo-run bench-results .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis .schemathesis .import_linter_cache .coverage .coverage.* htmlcov mutants \
		tests/e2e/.canaille tests/e2e/.roundup tests/e2e/node_modules tests/e2e/node22/node_modules
	find proxy tests -name __pycache__ -type d -prune -exec rm -rf {} +
