# Sets up a .venv by itself, then does the work. Paths in here are relative, so the folder may have any name.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo demo-real loop install test lint repro bench-train bench-data bench-loop bench-cloud settings lock clean

# Bytecode is kept, whatever the shell says: without it each start of Python with PyTorch compiles for ten seconds.
unexport PYTHONDONTWRITEBYTECODE

UV_VERSION := 0.13.8
PY := .venv/bin/python
# One process more than cores: tests wait for servers, too.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
UV := .venv/bin/uv
UV_STAMP := .venv/.uv-$(UV_VERSION)
# The lock names CUDA's libraries, which PyTorch's other builds don't ask for: there it only pins versions.
LOCKED := sync --compile-bytecode requirements.txt
BACKEND := install --exact --compile-bytecode -r requirements.in -c requirements.txt --torch-backend "$(TORCH_BACKEND)"

help: ## List what make can do here
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' Makefile
	@echo
	@echo 'ARGS="..." hands arguments on to demo, demo-real, loop, test, repro and the benchmarks.'
	@echo 'TORCH_BACKEND=cpu installs the smaller CPU builds of PyTorch from its own index.'

demo: .venv/.installed ## The whole loop on this machine with synthetic meters: push, train, decide, serve
	$(PY) -m wms_ops.demo $(ARGS)

demo-real: .venv/.installed ## The same with real photos (WMS_REAL_DATA names them)
	$(PY) -m wms_ops.demo --real $(ARGS)

install: .venv/.installed ## Set up .venv and nothing else

test: lint ## Run the linters and all tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --durations 25 $(ARGS)

lint: .venv/.installed ## Run the linters, the type checker and the dependency rules
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

loop: .venv/.installed ## Bring the newest data branch through the loop on this machine (docs/loop.md)
	$(PY) -m wms_ops loop run $(ARGS)

repro: .venv/.installed ## Prepare, train and evaluate what changed since the last time, by `dvc repro`
	PATH="$(CURDIR)/.venv/bin:$$PATH" dvc repro $(ARGS)

bench-train: .venv/.installed ## Measure quality and speed of training (WMS_REAL_DATA names the photos)
	$(PY) -m wms.bench $(ARGS)

bench-data: .venv/.installed ## Measure what a push costs as the data set grows, and the data check
	PYTHONPATH=WMS/tests:devops/tests $(PY) devops/tests/bench_data.py $(ARGS)

bench-loop: .venv/.installed ## Measure the loop without training, its memory, and kill it at each step
	PYTHONPATH=WMS/tests:devops/tests $(PY) devops/tests/bench_loop.py $(ARGS)

bench-cloud: .venv/.installed ## Measure start and end of an instance at an AWS on loopback (needs terraform), or kill them
	PYTHONPATH=WMS/tests:devops/tests $(PY) devops/tests/bench_cloud.py $(ARGS)

settings: .venv/.installed ## Write docs/settings.md and .env.example anew from the settings' types
	$(PY) -m wms_ops.commands.settings

lock: $(UV_STAMP) ## Write requirements.txt anew from requirements.in
	$(UV) pip compile requirements.in --output-file requirements.txt --python-version 3.11 --universal \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet $(UPGRADE)

clean: ## Remove .venv and what the tools have cached
	rm -rf .venv .cache .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis *.egg-info
	find WMS devops -type d -name __pycache__ -prune -exec rm -rf {} +

$(UV_STAMP):
	@python="$$(command -v python3.11 || command -v python3)" \
	  && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Python 3.11 or newer is needed; install it so that python3 starts it." >&2; exit 1; }; \
	"$$python" -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	@touch $@

.venv/.installed: requirements.txt pyproject.toml $(UV_STAMP)
	$(UV) pip $(if $(TORCH_BACKEND),$(BACKEND),$(LOCKED)) --python $(PY)
	$(UV) pip install --python $(PY) --quiet --no-deps --editable .
	@touch $@
