# make run    everything from a clean clone to the address of the running server
# make test   the same for the tests, then all of them (CML_TEST_DATA names a folder of real images, if there is one)
# make check  ruff, mypy strict, import-linter
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FRONTEND := cmlcore/ui/frontend
FRONTEND_SOURCES := $(wildcard $(FRONTEND)/*.json $(FRONTEND)/*.mjs) $(shell find $(FRONTEND)/src -type f)
RUN_ARGS ?=
TEST_ARGS ?=

.PHONY: run test check format frontend constraints licences clean
.DELETE_ON_ERROR:

run: $(VENV)/.runtime $(FRONTEND)/dist/.built
	@$(BIN)/python -m cmlcore serve --demo $(RUN_ARGS) || [ $$? -eq 130 ] # 130: the user's own Ctrl-C

test: $(VENV)/.dev $(FRONTEND)/dist/.built
	$(BIN)/python -m pytest $(TEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

frontend: $(FRONTEND)/dist/.built

# The stamps make the second call cheap: each is newer than all it was made from.
$(BIN)/python:
	@PYTHON="$(PYTHON)" sh tools/make_venv.sh $(VENV)

$(VENV)/.runtime: requirements.txt constraints.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $@

$(FRONTEND)/dist/.built: $(FRONTEND_SOURCES) tools/build_frontend.py | $(VENV)/.runtime
	$(BIN)/python tools/build_frontend.py $(FRONTEND)
	@touch $@

constraints: $(VENV)/.dev
	sh tools/renew_constraints.sh $(BIN)/python

licences: $(VENV)/.dev
	$(BIN)/python tools/list_licences.py

clean:
	rm -rf $(VENV) $(FRONTEND)/node_modules $(FRONTEND)/dist
