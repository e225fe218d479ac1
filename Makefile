PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test lint bench faults fuzz clean

demo: $(BIN)/python  ## install the suite, grade a phantom study over HTTP, show table and overlay
	$(BIN)/pip install -q '.[serve]'
	$(BIN)/discgrade demo --out demo-out

test: .venv/test  ## unit and functional tests, the latter against a real tritonserver
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: .venv/test  ## latency of POST /v1/grade on a 15-slice study, and where the time goes
	$(BIN)/python benchmarks/grade_latency.py

faults: .venv/test  ## kill gateway, workers and tritonserver at random moments under jobs: none lost, none twice
	$(BIN)/python -m tests.faults --jobs 500 --kills 50

fuzz: .venv/test  ## 10,000 damaged uploads and odd requests against a running server
	$(BIN)/python -m tests.fuzz

clean:
	rm -rf .venv demo-out build *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/test: $(BIN)/python pyproject.toml
	$(BIN)/pip install -q -e '.[test]'
	touch $@
