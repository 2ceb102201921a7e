# `make demo` runs the whole way on this machine, `make test` the tests; each makes its own environment when missing.

PYTHON ?= python3
VENV := .venv
OLD := .venv-datasets3
LAUNCH := $(VENV)/bin/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no

# Two workers more than there are cores, since tests that start processes wait for them; who has nothing left takes tests
# from another.
WORKERS = $$(($$(getconf _NPROCESSORS_ONLN) + 2))
SPREAD = -m pytest -q -n $(WORKERS) --dist worksteal
TEST = OMP_NUM_THREADS=1 $(VENV)/bin/python $(SPREAD)

# What Python compiles is kept, even where the shell says that it shall not be, as in many a container: the models' code
# takes 12 s to import from source, each time, and 5 s compiled.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo environments test quick slow network bench quality style docs

demo: $(VENV)/ready
	$(LAUNCH) builder/generate.py --model preview --scale 0.005 --raw agfd30k-preview-raw
	$(VENV)/bin/agfd30k report agfd30k
	$(VENV)/bin/agfd30k upload agfd30k --repo-id you/AGFD-30K --allow-preview --allow-incomplete --dry-run
	@echo "drawn faces, to show the tool: look at agfd30k-report.html; the real model: accelerate launch builder/generate.py"

# `make -j 2 environments` makes both at once.
environments: $(VENV)/ready $(OLD)/ready

test: environments
	$(TEST)
	OMP_NUM_THREADS=1 $(OLD)/bin/python $(SPREAD) tests/test_loader.py tests/dataset/test_packing.py

# Without the tests that start processes.
quick: $(VENV)/ready
	$(TEST) -m 'not process and not slow and not network'

slow: $(VENV)/ready
	$(VENV)/bin/python -m pytest -q -m slow

network: $(VENV)/ready
	$(VENV)/bin/python -m pytest -q -m network

# Tables of speed and memory, beside peers and limits: minutes; RESULTS.md keeps the last of each kind of machine.
bench: $(VENV)/ready
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	OMP_NUM_THREADS=1 $(VENV)/bin/python benchmarks --results benchmarks/RESULTS.md

quality: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The references of commands, table and columns, from the code.
docs: $(VENV)/ready
	$(VENV)/bin/python docs/commands.py
	$(VENV)/bin/python docs/table.py
	$(VENV)/bin/python docs/columns.py

style: $(VENV)/ready
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# pip says nothing for a minute or more; a line of the log in its place, now and then.
define quietly
@echo "$(1) ..."; (n=0; while sleep 15 >&- 2>&-; do n=$$((n + 15)); echo "  $$n s: $(1)"; done) & beat=$$!; \
	$(2); status=$$?; kill $$beat; exit $$status
endef
# Not compiled: Python compiles what is used, which is a small part, when it is used.
PIP := pip install --quiet --no-compile --disable-pip-version-check

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(call quietly,making the environment $(VENV),$(PYTHON) -m venv $(VENV))
	$(call quietly,installing torch and the rest into $(VENV) (some 2 GB),$(VENV)/bin/$(PIP) -c constraints.txt -e ".[dev]")
	@touch $@

# The last datasets that runs loading scripts, with what the loader and the release need.
$(OLD)/datasets: constraints-datasets3.txt
	$(call quietly,making the environment $(OLD),$(PYTHON) -m venv $(OLD))
	$(call quietly,installing the older datasets into $(OLD),$(OLD)/bin/$(PIP) -r constraints-datasets3.txt)
	@touch $@

# After the other one, since both write what setuptools says of this project into its folder.
$(OLD)/ready: pyproject.toml $(OLD)/datasets | $(VENV)/ready
	$(call quietly,installing this project into $(OLD),$(OLD)/bin/$(PIP) --no-deps -e .)
	@touch $@
