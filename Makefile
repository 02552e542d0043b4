# make run: the environment, then the whole study on the built-in faces. make test: the environment, then the tests.
# make check: the tests that are not slow. make lint: style, by ruff.
# make bench: speed and memory beside the tutorials' ways. make torture: the study killed 25 times, beside an undisturbed
# one, and a Ray cluster that loses workers, nodes and its driver.
PYTHON ?= python3
VENV := .venv

.PHONY: run test check lint bench torture env clean

run: env
	$(VENV)/bin/python run_all.py --profile demo --data builtin

test: env
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: env
	$(VENV)/bin/python -m pytest --numprocesses 2 -m "not slow" tests

lint: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

bench: env
	$(VENV)/bin/python benchmarks/bench.py

torture: env
	$(VENV)/bin/python tests/torture.py
	$(VENV)/bin/python -m pytest -m torture tests/test_cluster.py

env: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[notebooks,photo,export,test]'
	touch $@

clean:
	rm -rf $(VENV)
