# Works on a fresh machine with python3 (3.11 or newer), make and git. `make help` lists the targets.
PYTHON ?= python3
# Another version: `make setup TORCH="torch==..."`. From PyPI it brings CUDA libraries on Linux; the CPU build is enough for
# the tests and the demo: `make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu`.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
VENV ?= .venv
JOBS ?= 2
# What `make setup` installs beside seqmask: the tests need dev; docs, workflow and release are for the rest of the check.
EXTRAS ?= dev

BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_DATA ?= .data
MODEL_OPTIONS ?=
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup python demo test lint docs package bench baseline model-genomes model-ssu clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## virtual environment in .venv with everything the tests need

python:
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) here; set PYTHON=/path/to/python3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(None if sys.version_info >= (3, 11) else f"make: Python 3.11 or newer is needed, {sys.executable} is {v}; set PYTHON=")'

$(READY): pyproject.toml | python
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRAS)]"
	@touch $@

demo: $(READY) ## mask the example reads with the model that ships and show what came out
	@mkdir -p demo-output
	$(BIN)/seqmask mask examples/reads.fasta.gz -o demo-output/reads --force
	@echo; echo "demo-output/ holds:"; ls -l demo-output | awk 'NR > 1 {printf "%12d  %s\n", $$5, $$9}'
	@echo; echo "BED, the stretches that the classification rests on:"; sed -n 1,2p demo-output/reads.bed
	@echo; echo "TSV, one line a sequence:"; sed -n 1,3p demo-output/reads.tsv
	@echo; echo "What the columns mean: docs/schema.md"

test: $(READY) ## all tests, on JOBS processes (2)
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(BIN)/mkdocs ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

package: $(BIN)/pyproject-build ## sdist and wheel, and a run from the wheel in a fresh environment
	packaging/check-wheel.sh $(BIN)/python "$(TORCH)"

$(BIN)/mkdocs: | $(READY)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"

$(BIN)/pyproject-build: | $(READY)
	$(BIN)/python -m pip install --quiet --editable ".[release]"

bench: $(READY) ## how fast it is, against what; ROWS=mask,host for some rows (benchmarks/README.md)
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRAS),rivals]"
	$(BIN)/python benchmarks/bench.py $(if $(ROWS),--rows $(ROWS)) --json bench.json

baseline: $(READY) ## k-mer baseline on BENCH_DATA/ssu.fasta.gz and ssu.tsv.gz
	$(BIN)/python benchmarks/baseline_kmer.py $(BENCH_DATA)/ssu.fasta.gz --labels $(BENCH_DATA)/ssu.tsv.gz --k 6

model-genomes: $(READY) ## the model `genomes` from BENCH_DATA to its card: hours on the CPU (MODEL_OPTIONS="--device cuda")
	$(BIN)/python -m pip install --quiet --editable ".[dev,rivals,plot]"
	$(BIN)/python recipes/build.py genomes --data $(BENCH_DATA) $(MODEL_OPTIONS)

model-ssu: $(READY) ## the same for the model `ssu`
	$(BIN)/python -m pip install --quiet --editable ".[dev,rivals,plot]"
	$(BIN)/python recipes/build.py ssu --data $(BENCH_DATA) $(MODEL_OPTIONS)

clean: ## remove the environment, caches and the demo's output
	rm -rf $(VENV) demo-output build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
