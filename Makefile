VENV ?= .venv
PYTHON ?= python3
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: demo docs results-check test test-all test-browser test-coverage test-disturbances lint clean clean-artifacts

demo: $(READY) ## run the quickstart study on real images; ends with the path of its report
	$(PY) run.py experiment=quickstart

docs: $(READY) ## the documentation site, into site/; a warning, such as a dead link, is an error
	$(PY) -m sphinx -q -W --keep-going -b html -d build/doctrees docs site
	@echo "Open $$PWD/site/index.html"

results-check: $(READY) ## compute every kept number of results/ again from the kept cells, and refuse what disagrees
	$(PY) -m scripts.results_check

test: $(READY) ## lint, types and the default tests
	$(PY) -m pytest -n 3 --durations=25

test-all: $(READY) ## what the default leaves out: kills at a few moments, packaged archives, every experiment, SLURM on loopback
	$(PY) -m pytest -m "(kill or archives or experiments or slow) and not slurm" -n 2
	$(PY) -m pytest -m slurm --ignore tests/cluster/test_slurm_disturbances.py
	$(PY) -m pytest -m coverage -n 2 tests/kernels/coverage

test-browser: $(READY) ## pages in Debian's chromium, looked at by axe-core; skips where they are not installed (.ci/run does)
	$(PY) -m pytest -m browser -n 0 tests/browser

test-coverage: $(READY) ## every network of docs/coverage.md against a plain loop; adapters where PEFT is installed
	$(PY) -m pytest -m coverage -n 2 tests/kernels/coverage

test-disturbances: $(READY) ## kills at twenty moments of each kind; preemption, lost nodes and kills on SLURM, apart because it times whole sweeps
	KILL_MOMENTS=20 $(PY) -m pytest -m kill -n 2
	$(PY) -m pytest -m slurm tests/cluster/test_slurm_disturbances.py

lint: $(READY)
	$(PY) -m ruff format --check . && $(PY) -m ruff check . && $(PY) -m mypy

# torch goes first: its build depends on the machine. Everything else is taken by hash, and built, where there is no
# wheel, by the setuptools of the lock.
LOCKED := install -q --require-hashes --no-deps --no-build-isolation
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) scripts/install_torch.py
	grep '^setuptools==' requirements.lock > $(VENV)/setuptools.lock
	$(PY) -m pip $(LOCKED) -r $(VENV)/setuptools.lock
	$(PY) -m pip $(LOCKED) -r requirements.lock
	$(PY) -m pip install -q --no-deps --no-build-isolation -e .
	touch $(READY)

clean: ## what can be made again in minutes: the environment, the site and Hydra's logs; artifacts stay
	rm -rf $(VENV) outputs multirun site build/doctrees

clean-artifacts: ## every network, kernel and report; asks first
	@printf 'Delete %s artifact folders in %s/artifacts? Type yes: ' \
	  "$$(find artifacts -mindepth 2 -maxdepth 2 -type d 2>/dev/null | wc -l)" "$$PWD"; \
	if read answer && [ "$$answer" = yes ]; then rm -rf artifacts; else echo 'Nothing is deleted.'; exit 1; fi
