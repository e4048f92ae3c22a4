# Everything that a person types; `make help` lists it.
VENV := .venv
PYTHON := $(VENV)/bin/python
TOOLCHAIN := $(VENV)/.toolchain
DEMO_READY := $(VENV)/.demo-ready
TEST_READY := $(VENV)/.test-ready
RELAY_READY := .relay-venv/.ready
C_FILES := $(shell git ls-files '*.c' '*.h' 2>/dev/null)

export TVM_PATCH_MODELS ?= $(abspath ../shared/models)

.PHONY: help demo relay-env try-relay test lint search bench docs clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(DEMO_READY) ## From a model file to measured firmware on an emulated Cortex-M7
	$(PYTHON) examples/demo.py

test: $(TEST_READY) lint try-relay ## Everything that is checked: style, types, layers, unit and end-to-end tests
	$(PYTHON) -m pytest -n 2 --dist worksteal -q tests

try-relay:
	@sh scripts/relay/try.sh $(abspath .relay-venv)

relay-env: $(RELAY_READY) ## A TVM 0.17 that still has Relay, in .relay-venv, to test tvm_patch.relay on

lint: $(TEST_READY) ## Style, types and layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(if $(C_FILES),$(VENV)/bin/clang-format --dry-run -Werror $(C_FILES))
	$(PYTHON) scripts/generate_operator_docs.py --check

search: $(TEST_READY) ## Look for networks and plans that break: new random ones, many more
	HYPOTHESIS_PROFILE=search TVM_PATCH_EXAMPLES_FACTOR=10 \
		$(PYTHON) -m pytest -n 2 --dist worksteal -q tests/unit/lower tests/unit/plan tests/unit/memory \
		tests/unit/micro
	test ! -e $(RELAY_READY) || HYPOTHESIS_PROFILE=search TVM_PATCH_EXAMPLES_FACTOR=10 \
		.relay-venv/relay-python -m pytest -q tests/relay/in_relay_random.py

docs: $(TEST_READY) ## Write the generated parts of the documentation anew
	$(PYTHON) scripts/generate_operator_docs.py

bench: $(TEST_READY) ## Measure all models on the emulated Cortex-M7, layer by layer and patched
	$(PYTHON) benchmarks/models.py

$(TOOLCHAIN): scripts/install_toolchain.sh
	sh scripts/install_toolchain.sh
	test -x $(PYTHON) || $$(sh scripts/find_python.sh) -m venv $(VENV)
	touch $@

$(DEMO_READY): $(TOOLCHAIN) pyproject.toml
	$(PYTHON) -m pip install --quiet -e '.[full]'
	touch $@

$(TEST_READY): $(TOOLCHAIN) pyproject.toml
	$(PYTHON) -m pip install --quiet -e '.[full,exact,onnx,rack,tune,dev]'
	touch $@ $(DEMO_READY)

$(RELAY_READY): scripts/relay/setup.sh scripts/relay/libcuda_stub.c
	sh scripts/relay/setup.sh $(abspath .relay-venv)

clean: ## Remove what was built, not the virtual environment
	rm -rf out build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
