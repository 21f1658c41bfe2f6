# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
# The Python that `make test` tries the oldest dependencies with, and those that `make pythons` tries.
OLDEST ?= 3.10
PYTHONS ?= 3.10 3.11 3.12 3.13 3.14

BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --constraint constraints.txt --editable
# a change in any of these installs again; the version lives in nblaunch/__init__.py
INPUTS := pyproject.toml constraints.txt nblaunch/__init__.py
FAST := not (kernel or notebook or browser or chaos or frameworks)
# an environment beside the first one for each other Python
OF_OLDEST := $(VENV)-oldest
JAVASCRIPT := tests/javascript
NODE_BIN := $(JAVASCRIPT)/node_modules/.bin
# Whether a type checker knows the type of every name of the package. An editable install is not where it looks.
VERIFY_TYPES = echo "pyright --verifytypes nblaunch"; \
	PYTHONPATH=. $(NODE_BIN)/pyright --pythonpath $(BIN)/python --verifytypes nblaunch --ignoreexternal \
	  >build/types.txt || { cat build/types.txt; exit 1; }
# Google Colab's versions need its Python. Of the tests those run there whose way differs: streams and displays of an old
# ipykernel, pages that are not heard, tracebacks of an old IPython, and the quick start.
PYTHON313 ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.13.*/bin/python) $(shell command -v python3.13))
COLAB := $(VENV)/colab
COLAB_TESTS := $(addprefix tests/notebook/test_,colab.py failing.py hanging.py interrupting.py ipykernels.py \
	magic.py output.py panel.py) tests/notebook/test_notebooks.py::test_quickstart_finds_good_parameters_and_shows_a_failure
TEST_COLAB = if [ ! -e $(VENV)/.colab ]; then echo "the tests with Google Colab's versions are skipped"; \
	else $(COLAB)/bin/python -m pytest -W ignore::DeprecationWarning -m "(kernel or notebook) and not torch" \
	  -k "not 6.31 and not 7.2" $(COLAB_TESTS); fi
# Prints an interpreter of this version, or nothing: one by its usual name, or pyenv's.
FIND_PYTHON = for found in python$(1) "$$(pyenv root 2>/dev/null)"/versions/$(1).*/bin/python; do \
	  "$$found" -c 'import venv' 2>/dev/null && { echo "$$found"; break; }; \
	done
# Releases are made with tools of their own.
RELEASE := build/release
RELEASE_TOOLS := "build>=1.2" "hatchling>=1.27" "pypiserver>=2.3" "towncrier>=24.8" "twine>=6.1"
WITH_RELEASE_TOOLS = PATH="$(CURDIR)/$(RELEASE)/tools/bin:$$PATH"
# Debian's packages, where this user may install them: a condition for `if`
APT_INSTALL = as_root=; \
	[ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
	command -v apt-get >/dev/null && $$as_root true 2>/dev/null \
	  && $$as_root apt-get update -qq \
	  && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null

.DEFAULT_GOAL := help
.PHONY: help demo lab demo-ddp test oldest frameworks colab pythons chaos differential browser bench bench-panel bench-against map lint format \
	release try-release clean

help: ## say what can be made
	@echo "make TARGET [PYTHON=$(PYTHON)] [VENV=$(VENV)]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(VENV)/.demo ## run notebooks/quickstart.ipynb headless and print what came back
	$(BIN)/python notebooks/execute.py notebooks/quickstart.ipynb

lab: $(VENV)/.demo ## open the same notebook in JupyterLab
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/quickstart.ipynb

demo-ddp: $(VENV)/.demo-ddp ## run notebooks/ddp.ipynb (torch, DistributedDataParallel) headless
	$(BIN)/python notebooks/execute.py notebooks/ddp.ipynb

# Other versions, a release and frameworks are tried in the background, with what the tests here leave of the machine.
test: $(VENV)/.test $(VENV)/.ipykernels $(VENV)/.frontends browser ## run all the tests, the fast ones first
	@status=0; \
	mkdir -p build; \
	nice -n 19 make --no-print-directory --keep-going VENV=$(VENV) oldest colab try-release frameworks \
	  >build/other-versions.log 2>&1 & others=$$!; \
	trap 'kill $$others 2>/dev/null' EXIT; \
	if command -v node >/dev/null; then node --test $(JAVASCRIPT)/*.test.js || status=$$?; \
	else echo "no node here: the tests of the panel's JavaScript are skipped"; fi; \
	$(BIN)/python -m pytest -m "$(FAST)" || status=$$?; \
	$(BIN)/python -m pytest -m "(kernel or notebook or browser) and not chaos" --ignore tests/differential || status=$$?; \
	$(BIN)/python -m pytest -m chaos || status=$$?; \
	wait $$others || status=$$?; \
	trap - EXIT; \
	echo "with other versions, as a release, and with frameworks:"; cat build/other-versions.log; \
	exit $$status

oldest: $(OF_OLDEST)/.test ## run the fast tests on Python 3.10 with the oldest dependencies
	@if [ -x $(OF_OLDEST)/bin/pytest ]; then \
	  $(OF_OLDEST)/bin/python -m pytest -m "$(FAST)" -W ignore::DeprecationWarning -p no:cacheprovider; \
	else echo "no Python $(OLDEST) here: the tests with the oldest dependencies are skipped"; fi

frameworks: $(VENV)/.test ## run the tests that train with Lightning, transformers, accelerate and jax, and random programs
	@status=0; \
	$(BIN)/python -m pytest -m frameworks || status=$$?; \
	$(BIN)/python -m pytest -m "kernel and not chaos" tests/differential || status=$$?; \
	exit $$status

colab: $(VENV)/.colab ## run tests of kernels, and the quick start, with the versions that Google Colab has
	@$(TEST_COLAB)

pythons: ## run the fast tests, without torch, on each of these that is here: PYTHONS="3.10 3.14"
	@status=0; \
	for version in $(PYTHONS); do \
	  python=$$($(call FIND_PYTHON,$$version)); \
	  if [ -z "$$python" ]; then echo "Python $$version: skipped, there is none here"; continue; fi; \
	  echo "Python $$version:"; \
	  make --no-print-directory PYTHON="$$python" VENV=$(VENV)-$$version $(VENV)-$$version/.test-without-torch \
	  && $(VENV)-$$version/bin/python -m pytest -m "$(FAST)" || status=1; \
	done; \
	exit $$status

chaos: $(VENV)/.test ## hit N=150 runs with faults drawn at random [SEED=...] [RUN=number of a single one]
	$(BIN)/python -m tests.chaos --table build/chaos.md --runs $(or $(N),150) \
	  $(if $(SEED),--seed $(SEED)) $(if $(RUN),--only $(RUN))

differential: $(VENV)/.test ## compare N=20000 programs drawn at random in ranks and notebook [SEED=...]
	$(BIN)/python -m tests.differential --examples $(or $(N),20000) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.bench ## measure nblaunch beside its peers, into benchmarks/results (about half an hour)
	$(BIN)/python -m benchmarks

bench-panel: $(VENV)/.test browser ## measure the live panel in JupyterLab and Chromium (about 5 minutes)
	$(BIN)/python -m benchmarks.panel

bench-against: $(VENV)/.test ## measure this tree beside REV=commit, in turns, as ratios [ROUNDS=20]
	@if [ -z "$(REV)" ]; then echo "say beside which commit: make bench-against REV=HEAD~10" >&2; exit 2; fi
	$(BIN)/python -m benchmarks.against $(REV) --rounds $(or $(ROUNDS),20)

map: ## draw which packages import from which, into docs/map.svg
	@$(PYTHON) docs/draw_map.py

lint: $(VENV)/.test $(VENV)/.javascript ## check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(BIN)/towncrier build --draft --version next >/dev/null
	@mkdir -p build
	@if [ -x $(NODE_BIN)/tsc ]; then echo "$(NODE_BIN)/tsc -p $(JAVASCRIPT)"; $(NODE_BIN)/tsc -p $(JAVASCRIPT); fi
	@if [ -x $(NODE_BIN)/pyright ]; then $(VERIFY_TYPES); fi

format: $(VENV)/.test ## put the code into the project's format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

release: $(RELEASE)/.tools ## release VERSION=0.2.0: changelog, archives, commit, tag, upload [INDEX=address]
	@$(WITH_RELEASE_TOOLS) .ci/release "$(VERSION)" "$(INDEX)"

try-release: $(RELEASE)/.tools ## release a copy into an index on this machine, install it and run two ranks
	@if git rev-parse --git-dir >/dev/null 2>&1; then $(WITH_RELEASE_TOOLS) python .ci/try_release.py; \
	else echo "no git checkout: the release is not tried"; fi

clean: ## remove what was built; the environment stays
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find nblaunch notebooks tests benchmarks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# The browser tests need a Chromium: install Debian's where this user may, otherwise say that they are skipped.
browser:
	@if command -v chromium >/dev/null; then exit 0; fi; \
	if $(call APT_INSTALL,chromium) \
	  && command -v chromium >/dev/null; \
	then echo "installed Chromium for the browser tests"; \
	else echo "no Chromium and no way to install it here: the browser tests will be skipped"; fi

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "nblaunch needs Python 3.10 or newer: name one with 'make PYTHON=python3.12 ...'" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "$(PYTHON) cannot make a virtual environment: on Debian, 'apt install python3-venv'" >&2; exit 1; }
	@touch $@

$(RELEASE)/.tools:
	@mkdir -p $(RELEASE)
	@$(PYTHON) -m venv $(RELEASE)/tools
	@$(RELEASE)/tools/bin/python -m pip install -qq --no-compile $(RELEASE_TOOLS)
	@touch $@

$(VENV)/.demo: $(VENV)/.made $(INPUTS)
	@echo "installing into $(VENV), about half a minute"
	$(PIP_INSTALL) '.[demo]'
	@touch $@

$(VENV)/.demo-ddp: $(VENV)/.made $(INPUTS)
	@echo "installing into $(VENV), torch included, which is large"
	$(PIP_INSTALL) '.[demo,torch]'
	@touch $@

$(VENV)/.bench: $(VENV)/.made $(INPUTS)
	@echo "installing into $(VENV), torch and the peers included, which is large"
	$(PIP_INSTALL) '.[bench]'
	@touch $@

$(VENV)/.test: $(VENV)/.made $(INPUTS)
	@echo "installing into $(VENV), torch included, which is large"
	$(PIP_INSTALL) '.[test,torch,frameworks,dev]'
	@touch $@

$(VENV)/.test-without-torch: $(VENV)/.made $(INPUTS)
	@echo "installing into $(VENV), about a minute"
	$(PIP_INSTALL) '.[test]'
	@touch $@

# The lowest version of each dependency that pyproject.toml allows, as constraints for pip.
$(OF_OLDEST)/.test: $(INPUTS)
	@python=$$($(call FIND_PYTHON,$(OLDEST))); \
	mkdir -p $(OF_OLDEST); \
	if [ -n "$$python" ]; then \
	  echo "installing the oldest dependencies into $(OF_OLDEST), about a minute"; \
	  "$$python" -m venv $(OF_OLDEST) \
	  && sed -n '/^dependencies = \[/,/^]/p; /^test = \[/,/^]/p' pyproject.toml \
	     | sed -n 's/^ *"\([A-Za-z0-9_.-]*\)>=\([0-9.]*\).*/\1==\2/p' >$(OF_OLDEST)/oldest.txt \
	  && $(OF_OLDEST)/bin/python -m pip install -qq --constraint $(OF_OLDEST)/oldest.txt --editable '.[test]' || exit 1; \
	fi; \
	touch $@

# Kernels that let a page's messages in by other ways than the newest: each in a folder of its own, put before the rest.
$(VENV)/.ipykernels: $(VENV)/.test
	@for version in 6.31 7.2; do \
	  $(BIN)/python -m pip install -qq --no-deps --upgrade --target $(VENV)/ipykernels/$$version \
	    "ipykernel==$$version.*" nest_asyncio || exit 1; \
	done
	@touch $@

# The pins, what the tests need beside them, and nblaunch.
$(VENV)/.colab: tests/colab.txt $(INPUTS) | $(VENV)/.made
	@if [ -z "$(PYTHON313)" ]; then echo "no Python 3.13 here, which Google Colab's versions need"; exit 0; fi; \
	echo "installing Google Colab's versions into $(COLAB), about half a minute"; \
	$(PYTHON313) -m venv $(COLAB) \
	  && $(COLAB)/bin/python -m pip install -qq --requirement tests/colab.txt --editable . \
	    hypothesis matplotlib nbclient nbconvert packaging pandas pytest pytest-timeout scikit-learn tqdm \
	  && touch $@

# Other kernels than ipykernel, and marimo, in the same way.
$(VENV)/.frontends: $(VENV)/.test
	@install="$(BIN)/python -m pip install -qq --upgrade --target $(VENV)/frontends"; \
	skipped="cannot be installed here: its tests are skipped"; \
	$$install/xeus --no-deps "xeus-python==0.19.*" "xeus-python-shell==0.8.*" || echo "xeus-python $$skipped"; \
	$$install/spyder --no-deps "spyder-kernels==3.1.*" "ipykernel==6.31.*" wurlitzer pyxdg nest_asyncio \
	  || echo "spyder-kernels $$skipped"; \
	$$install/marimo "marimo==0.25.*" || echo "marimo $$skipped"
	@touch $@

# TypeScript checks the types of the panel's JavaScript, and pyright whether the package has types for all its names. Both
# need node: as above, or it says that they are skipped.
$(VENV)/.javascript: $(JAVASCRIPT)/package.json | $(VENV)/.made
	@if ! command -v npm >/dev/null; then \
	  if $(call APT_INSTALL,nodejs npm); then echo "installed node for TypeScript and pyright"; fi; \
	fi; \
	if command -v npm >/dev/null \
	  && npm install --prefix $(JAVASCRIPT) --no-package-lock --no-audit --no-fund --loglevel=error >/dev/null; \
	then touch $@; \
	else echo "no node and no way to install it here: TypeScript and pyright check nothing"; fi
