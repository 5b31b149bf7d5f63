# make demo   set up, then grade a synthetic patient into demo-output/
# make test   set up, then style, types and all tests
# Needs Python 3.11 or 3.12; choose one with: make PYTHON=python3.12 demo

PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
OUT ?= demo-output
READY = $(VENV)/.ready
BIN = $(VENV)/bin

.PHONY: demo test setup clean

demo: $(READY)
	$(BIN)/cadx demo --out $(OUT)

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed and was not found; name one with PYTHON=..."; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,test]"
	touch $@

clean:
	rm -rf $(VENV) $(OUT)
