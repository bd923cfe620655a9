# Needs Python 3.11 and a network for the first run; everything is installed into .venv.
PYTHON ?= python3.11
BIN := .venv/bin
INSTALLED := .venv/.installed
OUT ?= demo-out
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1# small matrices: threads cost more than they give

.PHONY: help demo test test-fast lint test-slow test-notebooks bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(INSTALLED): setup.py constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@

demo: $(INSTALLED)  ## collect, train, bound and land in PyBullet; report in demo-out/
	$(BIN)/neural-lander demo --out $(OUT)
	@echo "Report: $(abspath $(OUT))/report.html"
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] && command -v xdg-open >/dev/null; then xdg-open $(OUT)/report.html; fi

test: lint test-fast  ## fast tests, linter and type checker

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

test-fast: $(INSTALLED)  ## tests that take seconds
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m "not slow" -n auto --dist worksteal

test-slow: $(INSTALLED)  ## the rest: training, closed loops, whole commands
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m "slow and not realtime" -n auto --dist worksteal
	$(ONE_THREAD) $(BIN)/python -m pytest -q -m "slow and realtime"

test-notebooks: $(INSTALLED)  ## execute the notebooks
	$(ONE_THREAD) $(BIN)/python -m pytest -q --nbmake notebooks/*.ipynb -n auto

bench: $(INSTALLED)  ## benchmarks: tables on the terminal, benchmarks/results.json
	$(BIN)/python -m benchmarks

clean:  ## remove outputs and caches, keep .venv
	rm -rf $(OUT) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
