# make search   set up, then the main job on the built-in model and data (ARGS="--task rte --trials 12")
# make test     set up, then lint, types and every test
# make bench    set up, then what the speed claims rest on, in some ten minutes on 2 cores
# make gpu      set up, then what needs a GPU: its tests, and a step of each method beside vanilla's
# make chaos    set up, then kill what searches are made of at random moments, and count what was lost
# make cluster-chaos    set up, then a search over machines of namespaces, whose links and nodes are disturbed (needs root)
# make test-slow    set up, then the tests that `make test` leaves out: they take minutes each
# make docs     set up, then the documentation as a site in build/site
# make setup    the set-up alone; a second time it does nothing

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check --quiet
READY  := $(VENV)/.ready
ARGS   ?= --task cola
SIDE_BY_SIDE := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile
FAST   := tests/unit tests/contract
NO_RAY := $(patsubst %,tests/integration/test_%.py,ddp docs hub optuna_dashboard real_data report_page storage tracking)

.PHONY: setup search test test-fast test-slow lint docs bench gpu chaos cluster-chaos clean

setup: $(READY)

# torch comes first and by itself: what wants it then finds the pinned build.
$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --constraint constraints.txt torch
	@$(PIP) install --constraint constraints.txt --editable '.[builtin,dev]'
	@touch $@

search: $(READY)
	@$(BIN)/python tune/search.py $(ARGS)

test: test-fast
	@$(SIDE_BY_SIDE) $(NO_RAY) tests/trust
	@$(BIN)/python -m pytest tests/integration tests/chaos tests/gpu $(addprefix --ignore=,$(NO_RAY))

test-fast: lint
	@$(SIDE_BY_SIDE) $(FAST)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open build/site/index.html"

bench: $(READY)
	@$(BIN)/python benchmarks/step.py
	@$(BIN)/python benchmarks/padding.py
	@$(BIN)/python benchmarks/start.py --turns 3
	@$(BIN)/python benchmarks/driver.py --loop --slots 256 --trials 300
	@$(BIN)/python benchmarks/peers.py --trials 4 --steps 10 --train-size 320 --seeds 0

gpu: $(READY)
	@$(BIN)/python -m pytest tests/gpu
	@$(BIN)/python benchmarks/step.py --device cuda --model bert-large --batch-size 32 --length 64 --precision bf16 --turns 30

chaos: $(READY)
	@$(BIN)/python benchmarks/chaos.py

cluster-chaos: $(READY)
	@$(BIN)/python benchmarks/cluster_chaos.py

test-slow: $(READY)
	@$(BIN)/python -m pytest tests -m slow

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
