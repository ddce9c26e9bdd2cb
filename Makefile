# Sets up a .venv by itself, then does the work. Paths in here are relative, so the folder may have any name.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo demo-real loop install wheelhouse test lint repro bench-train bench-data bench-loop bench-cloud prove-entrance prove-gate \
  prove-matrices prove-service prove-workflows settings lock clean

# Bytecode is kept, whatever the shell says: without it each start of Python with PyTorch compiles for ten seconds.
unexport PYTHONDONTWRITEBYTECODE

PY := .venv/bin/python
# One process more than cores: tests wait for servers, too.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
PYTHON = $(or $(shell command -v python3.11 || command -v python3),$(error Python 3.11 or newer is needed; install it so \
  that python3 starts it))
# A group that is there already costs a tenth of a second. FOR= names groups for `install` and `wheelhouse`.
INSTALL = $(PYTHON) infrastructure/bootstrap/install.py
FOR ?= core
DIR ?= wheelhouse
LOCKS := infrastructure/requirements
COMPILE := .venv/bin/uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
  --no-emit-find-links --custom-compile-command "make lock" --quiet

help: ## List what make can do here
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' Makefile
	@echo
	@echo 'ARGS="..." hands arguments on to demo, demo-real, loop, test, repro and the benchmarks.'
	@echo 'FOR="train serve" names what install and wheelhouse take: core, train, serve, heic, cloud, dev, all (default: core).'

demo: ## The whole loop on this machine with synthetic meters: push, train, decide, serve
	@$(INSTALL) --quiet train serve cloud
	$(PY) -m wms_ops.demo $(ARGS)

demo-real: ## The same with real photos (WMS_REAL_DATA names them)
	@$(INSTALL) --quiet train serve cloud
	$(PY) -m wms_ops.demo --real $(ARGS)

install: ## Install FOR's groups into .venv, beside those that are there
	@$(INSTALL) $(FOR)

wheelhouse: ## Fetch every file of FOR's groups into DIR; WMS_OFFLINE=DIR then installs without a network
	@$(INSTALL) --wheelhouse $(DIR) $(FOR)

test: lint ## Run the linters and all tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --durations 25 $(ARGS)

lint: ## Run the linters, the type checker and the dependency rules
	@$(INSTALL) --quiet all
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports

loop: ## Bring the newest data branch through the loop on this machine (docs/loop.md)
	@$(INSTALL) --quiet train serve cloud
	$(PY) -m wms_ops loop run $(ARGS)

repro: ## Prepare, train and evaluate what changed since the last time, by `dvc repro`
	@$(INSTALL) --quiet train
	PATH="$(CURDIR)/.venv/bin:$$PATH" dvc repro $(ARGS)

bench-train: ## Measure quality and speed of training (WMS_REAL_DATA names the photos)
	@$(INSTALL) --quiet train
	$(PY) -m wms.bench $(ARGS)

bench-data: ## Measure what a push costs as the data set grows, and the data check
	@$(INSTALL) --quiet all
	PYTHONPATH=WMS/tests:devops/tests $(PY) devops/tests/bench_data.py $(ARGS)

bench-loop: ## Measure the loop without training, its memory, and kill it at each step
	@$(INSTALL) --quiet all
	PYTHONPATH=WMS/tests:devops/tests $(PY) devops/tests/bench_loop.py $(ARGS)

bench-cloud: ## Measure start and end of an instance at an AWS on loopback (needs terraform), or kill them
	@$(INSTALL) --quiet all
	PYTHONPATH=WMS/tests:devops/tests $(PY) devops/tests/bench_cloud.py $(ARGS)

prove-entrance: ## Put thousands of mutated photos, masks and Git settings through the entrance (a test run: a slice)
	@$(INSTALL) --quiet all
	PYTHONPATH=WMS/tests:devops/tests $(PY) devops/tests/prove_entrance.py $(ARGS)

prove-gate: ## Print the tables of docs/gate.md about the gate's statistics, from fixed seeds (a test run: a slice)
	@$(INSTALL) --quiet all
	PYTHONPATH=WMS/tests:devops/tests OMP_NUM_THREADS=1 $(PY) devops/tests/prove_gate.py $(ARGS)

prove-service: ## Attack a real process of the service: 5,000 requests, its memory, its calls (a test run: a slice)
	@$(INSTALL) --quiet all
	PYTHONPATH=WMS/tests:devops/tests OMP_NUM_THREADS=1 $(PY) devops/tests/prove_service.py $(ARGS)

prove-matrices: ## Run all tests with every case of each matrix and every long scenario (a test run: a slice)
	@$(INSTALL) --quiet all
	WMS_WHOLE_MATRICES=1 OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --durations 25 $(ARGS)

prove-workflows: ## Run the workflow files themselves, from first job to last, by act (a test run: one of three parts)
	@$(INSTALL) --quiet all
	WMS_WHOLE_MATRICES=1 OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 -v --durations 25 \
	  devops/tests/test_pipeline.py devops/tests/test_pipeline_again.py devops/tests/test_accept_run.py $(ARGS)

settings: ## Write docs/settings.md and .env.example anew from the settings' types
	@$(INSTALL) --quiet core
	$(PY) -m wms_ops.commands.settings

lock: ## Write requirements.txt and the groups' locks anew from pyproject.toml
	@$(INSTALL) --quiet
	$(COMPILE) pyproject.toml --all-extras --group tools --output-file requirements.txt $(UPGRADE)
	for group in core train serve heic cloud dev; do \
	  extra=(); [[ $$group == core ]] || extra=(--extra $$group); \
	  $(COMPILE) pyproject.toml "$${extra[@]}" --no-annotate --constraint requirements.txt \
	    --output-file $(LOCKS)/$$group.txt --upgrade; \
	done
	$(COMPILE) .ci/checkov.in --no-annotate --output-file .ci/checkov.txt $(UPGRADE)
	$(COMPILE) --group tools --no-annotate --constraint requirements.txt --output-file $(LOCKS)/tools.txt --upgrade

clean: ## Remove .venv and what the tools have cached
	rm -rf .venv .cache .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis *.egg-info
	find WMS devops -type d -name __pycache__ -prune -exec rm -rf {} +
