# Every command of this project. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# What is slow to make lives outside the checkout and survives it.
export EDGEMESH_CACHE ?= $(HOME)/.cache/edgemesh
# The newest Python that Ansible and its tools support, and the oldest controller that we support.
PYTHON ?= $(firstword $(foreach v,3.13 3.12 3.11,$(shell PATH="$$PATH" sh tests/tools/find-python.sh $(v))))
OLD_PYTHON ?= $(shell sh tests/tools/find-python.sh 3.11)
TARGET_PYTHON ?= $(shell sh tests/tools/find-python.sh 3.9)

key = $(shell cat $(1) | sha256sum | cut -c1-12)
VENV := $(EDGEMESH_CACHE)/venv/$(notdir $(PYTHON))-$(call key,requirements.txt tests/requirements.txt)
OLD_VENV := $(EDGEMESH_CACHE)/venv/core-2.19-$(call key,requirements.txt tests/requirements.txt)
TARGET_VENV := $(EDGEMESH_CACHE)/venv/target-3.9
# Ansible finds the checkout as a collection through a symlink; ansible-test insists on a real folder (see tests/tools/sanity.sh).
COLLECTIONS := $(EDGEMESH_CACHE)/collections/$(call key,<(pwd))
LINK := $(COLLECTIONS)/ansible_collections/edgemesh/nginx_istio
export MYPY_CACHE_DIR := $(EDGEMESH_CACHE)/mypy
export RUFF_CACHE_DIR := $(EDGEMESH_CACHE)/ruff
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_COLLECTIONS_PATH := $(COLLECTIONS)
export PATH := $(VENV)/bin:$(PATH)
# Some images set it; hundreds of processes would each compile our files anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## This list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r t d; do printf '  make %-12s %s\n' "$$t" "$$d"; done

.PHONY: demo
demo: $(VENV)/ready $(LINK) ## The lab, the collection's roles on it, and a proof report
	bash demo/run.sh

.PHONY: test
test: $(VENV)/ready $(LINK) $(OLD_VENV)/ready ## All tests, with short load and fault tests; CI runs this
	OLD_VENV=$(OLD_VENV) bash tests/tools/integration.sh check

.PHONY: soak
soak: $(VENV)/ready $(LINK) $(OLD_VENV)/ready ## The same at full length
	EDGEMESH_SOAK=1 OLD_VENV=$(OLD_VENV) bash tests/tools/integration.sh

.PHONY: check
check: $(VENV)/ready $(LINK) ## Lint, types, documentation, sanity, unit tests: no cluster
	$(MAKE) --no-print-directory -j2 --output-sync=target lint unit sanity

.PHONY: lint
lint: $(VENV)/ready $(LINK)
	ruff check .
	ruff format --check .
	mypy
	vermin --quiet --no-tips --violations --eval-annotations -t=3.9- plugins/modules plugins/module_utils
	bash tests/tools/once.sh ansible-lint ansible-lint --offline --profile production
	bash tests/tools/once.sh docs env --chdir=$(COLLECTIONS)/ansible_collections/edgemesh/nginx_istio \
	  antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=dependent .
	antsibull-changelog lint

.PHONY: unit
unit: $(VENV)/ready $(LINK)
	pytest -q tests/unit
	@if [ -n "$(TARGET_PYTHON)" ]; then $(MAKE) -s unit-target; else echo "skipped: code for targets under Python 3.9: no Python 3.9 found"; fi

# Code that runs on targets needs the standard library alone.
.PHONY: unit-target
unit-target: $(TARGET_VENV)/ready
	$(TARGET_VENV)/bin/python -m pytest -q -p no:cacheprovider tests/unit/nginx tests/unit/probe tests/unit/x509/test_x509_files.py

.PHONY: sanity
sanity: $(VENV)/ready $(LINK)
	bash tests/tools/once.sh sanity bash tests/tools/sanity.sh

.PHONY: bench
bench: export KUBECONFIG ?= /var/lib/edgemesh-lab/kubeconfig
bench: $(VENV)/ready $(LINK) ## Side-by-side measurements on the lab
	python -m lab up
	python -m tests.bench.bench_k8s_objects
	python -m tests.bench.bench_tls_secrets
	python -m tests.bench.bench_vm_offload
	pip install --quiet --disable-pip-version-check -r tests/bench/requirements.txt
	python -m tests.bench.bench_nginx

.PHONY: lab
lab: $(VENV)/ready $(LINK) ## A real Kubernetes, Istio and VMs on this machine (as root)
	python -m lab up

.PHONY: lab-down
lab-down: $(VENV)/ready $(LINK) ## Remove all that the lab made
	python -m lab down

.PHONY: build
build: $(VENV)/ready $(LINK) ## The collection's artifact
	ansible-galaxy collection build --force

.PHONY: release
release: $(VENV)/ready $(LINK) ## Release notes from changelogs/fragments for galaxy.yml's version, and the artifact
	antsibull-changelog release
	ansible-galaxy collection build --force

.PHONY: clean
clean: ## Remove caches inside the checkout
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .ansible proof edgemesh-nginx_istio-*.tar.gz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/ready:
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer not found. Install it: apt-get install python3 python3-venv" >&2; exit 1; fi
	bash tests/tools/venv.sh "$(PYTHON)" "$(@D)" -r tests/requirements.txt

# Of this checkout, while the environments belong to all checkouts.
$(LINK):
	mkdir -p $(@D)
	ln -sfn $(CURDIR) $@

$(OLD_VENV)/ready:
	bash tests/tools/venv.sh "$(OLD_PYTHON)" "$(@D)" -r requirements.txt ansible 'ansible-core~=2.19.0' rich

$(TARGET_VENV)/ready:
	bash tests/tools/venv.sh "$(TARGET_PYTHON)" "$(@D)" pytest hypothesis
