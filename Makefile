# Every target sets up what it needs by itself: Python >= 3.11 is all that a machine must have.
.DEFAULT_GOAL := help
.PHONY: help demo test lint clean

BIN := .venv/bin
# What hack/setup.sh had to install comes first, for the programs that we start as well.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

# YAML that is no template.
YAML := $(shell find charts manifests -name '*.yaml' -not -path '*/templates/*' 2>/dev/null)

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Upload a photo, a clip and a sound to a service on this machine, and show what becomes of them
	@hack/setup.sh demo
	@$(BIN)/python hack/demo.py

test: lint ## Check the code and run all tests
	$(BIN)/pytest $(PYTEST_ARGS)

lint: ## Check the code without running it
	@hack/setup.sh test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests hack/demo.py benchmarks
	$(BIN)/lint-imports
	$(if $(YAML),$(BIN)/yamllint --strict --config-file hack/yamllint.yaml $(YAML))
	uv lock --check --quiet

clean: ## Remove what was installed and built
	rm -rf .venv .tools .cache dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
