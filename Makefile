# make demo   the main job, end to end
# make loop   record, distil, deploy, evaluate: a quarter of an hour
# make test   all tests
# make lint   ruff and mypy
# make docs   rewrite the generated parts of README.md
# make venv   only the installation that all of these begin with
# make clean  remove what they left
#
# Everything is installed into .venv, ROS 2 included; a second run installs nothing.

PYTHON ?= python3
TORCH := 2.13.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
QUICK := --timeout 15 --retries 1
CPU_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: demo loop test lint docs venv clean
.DELETE_ON_ERROR:

demo: venv
	@$(BIN)/rgbt demo

loop: venv
	@$(BIN)/rgbt loop

test: venv
	@$(BIN)/python -m pytest

lint: venv
	@$(BIN)/ruff check
	@$(BIN)/mypy

docs: venv
	@$(BIN)/python scripts/update_docs.py

venv: $(VENV)/.package

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "$(PYTHON) is too old or missing: Python 3.10 or later is needed (make PYTHON=...)" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; \
	  sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || { \
	  echo "the headers of $(PYTHON) are missing: apt install python3-dev" >&2; exit 1; }
	@for tool in cc c++; do command -v $$tool >/dev/null || { \
	  echo "no C/C++ compiler ($$tool): apt install g++" >&2; exit 1; }; done
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -qq --upgrade 'pip>=23'
	@touch $@

# Where there is no CUDA GPU, the CPU build (a tenth of the size): from pip's own sources if they
# have it, else from PyTorch's; the default build if neither does.
$(VENV)/.torch-$(TORCH): $(VENV)/.python
	@if nvidia-smi -L >/dev/null 2>&1; then \
	  echo "installing torch $(TORCH), for the GPU of this machine"; \
	  $(PIP) install -qq torch==$(TORCH); \
	else \
	  echo "installing torch $(TORCH), for the CPU"; \
	  $(PIP) install -qq $(QUICK) torch==$(TORCH)+cpu 2>/dev/null \
	  || $(PIP) install -qq $(QUICK) --index-url $(CPU_INDEX) torch==$(TORCH)+cpu 2>/dev/null \
	  || $(PIP) install -qq torch==$(TORCH); \
	fi
	@touch $@

$(VENV)/.package: pyproject.toml setup.py $(wildcard msg/*.msg) $(VENV)/.torch-$(TORCH)
	@echo "installing ROS 2 and rgbt_tracker_ros, compiling its messages"
	@$(PIP) install -qq -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build demo *.egg-info rgbt_tracker_ros/msg rgbt_tracker_ros/*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find rgbt_tracker_ros test launch scripts -name __pycache__ -prune -exec rm -rf {} +
