# Every target sets up what it needs by itself: Python >= 3.11 is all that a machine must have.
.DEFAULT_GOAL := help
.PHONY: help demo test e2e scale faults lint images manifests cluster cluster-down clean

BIN := .venv/bin
# What hack/setup.sh had to install comes first, for the programs that we start as well.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

# YAML that is no template.
YAML := $(shell find charts manifests -name '*.yaml' -not -path '*/templates/*' 2>/dev/null)

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Upload a photo, a clip and a sound to a service on this machine, and show what becomes of them
	@hack/setup.sh demo
	@$(BIN)/python hack/demo.py

test: lint ## Check the code and run all tests that need no cluster
	@$(BIN)/python hack/cluster/tools.py etcd gateway-api helm kubernetes kwok prometheus-operator versitygw >/dev/null
	$(BIN)/pytest --ignore=tests/e2e --numprocesses=2 --dist=loadfile $(PYTEST_ARGS)

e2e: ## Build the images, and test them in a real Kubernetes: CLUSTER=local (as root), kind or current
	@hack/e2e.sh

faults: ## Do harm to all that the operator depends on, in every way there is a test for (up to an hour)
	@hack/setup.sh test
	@$(BIN)/python hack/cluster/tools.py kubernetes etcd kwok versitygw >/dev/null
	$(BIN)/pytest tests/faults -m "" $(PYTEST_ARGS)

scale: ## Measure 10,000 assets on a real control plane whose pods are played (SCALE_ARGS="--assets 1000 …")
	@hack/setup.sh test
	@$(BIN)/python hack/cluster/tools.py kubernetes etcd kwok helm versitygw >/dev/null
	$(BIN)/python benchmarks/scale.py $(SCALE_ARGS)

lint: ## Check the code without running it
	@hack/setup.sh test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests hack/cluster hack/demo.py hack/images/build.py hack/manifests.py hack/reference.py benchmarks
	$(BIN)/lint-imports
	$(if $(YAML),$(BIN)/yamllint --strict --config-file hack/yamllint.yaml $(YAML))
	uv lock --check --quiet

images: ## Build the images, all or COMPONENTS="operator ingest", tagged TAG=dev, by PROGRAM=docker, say
	@python3 hack/images/build.py $(if $(TAG),--tag $(TAG)) $(if $(PROGRAM),--program $(PROGRAM)) $(COMPONENTS)

manifests: ## Render manifests/ from the chart, and its README from its values
	@hack/setup.sh test
	@$(BIN)/python hack/manifests.py
	@$(BIN)/python hack/reference.py

cluster: ## Run a Kubernetes on this machine, without Docker (as root), and print how to use it
	@hack/cluster/kind create cluster --name media --kubeconfig .cache/kubeconfig

cluster-down: ## Remove it, and all that belongs to it
	@hack/cluster/kind delete cluster --name media --kubeconfig .cache/kubeconfig

clean: ## Remove what was installed and built
	rm -rf .venv .tools .cache dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
