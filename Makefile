# Two commands do everything on a fresh machine with Python >= 3.10:
#   make run     environment, default LLM, then the whole workflow: scores, pages, package
#   make test    environment, default LLM, then the test suite
# `make test-clusters` starts Ray and Spark; `make docs` builds the documentation into site/.
# Both can be repeated, and need no network the second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LLM := assets/llm/SmolLM2-135M-Instruct
# What the workflow needs; and, on top of it, all extras, and what tests and developers need.
INSTALLED := $(VENV)/.installed
INSTALLED_ALL := $(VENV)/.installed-all
INSTALLED_CLUSTERS := $(VENV)/.installed-clusters
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.PHONY: run test test-clusters docs env llm lint format clean

run: llm
	$(BIN)/python -m spacy project assets
	$(BIN)/python -m spacy project run all

test: env llm
	$(BIN)/python -m pytest -n 2 -m "not cluster"

# With a real Ray cluster and a real Spark (which needs Java) on this machine.
test-clusters: $(INSTALLED_CLUSTERS)
	$(BIN)/python -m pytest -m cluster

env: $(INSTALLED_ALL)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	rm -rf spacy_llm2ner.egg-info
	$(INSTALL) ".[gguf]" build
	touch $@

$(INSTALLED_ALL): $(INSTALLED)
	$(INSTALL) ".[gguf,lora,presidio,ray,search,serve,spacy-transformers,test,dev,docs]"
	touch $@

$(INSTALLED_CLUSTERS): $(INSTALLED_ALL)
	$(INSTALL) ".[test-clusters]"
	touch $@

llm: $(LLM)/config.json

$(LLM)/config.json: | $(INSTALLED)
	$(BIN)/python scripts/fetch_default_llm.py $(LLM)

docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "Open site/index.html"

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/lint_sources.py

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf corpus training metrics visuals packages project.lock site
