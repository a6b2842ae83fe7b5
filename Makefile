# Every target sets itself up: a virtual environment with the versions of constraints.txt. EXTRAS=dev leaves torch out.
PYTHON ?= python3
VENV := .venv
EXTRAS ?= dev,train,report,docs
TOOLKIT := $(VENV)/bin/toolkit
DATA ?= ../shared/data
export OMP_NUM_THREADS ?= 2

.PHONY: benchmark test fuzz train export report docs lint clean

benchmark: $(VENV)/core  ## every method on what is built in: at most 5 minutes on two cores
	$(TOOLKIT) benchmark

test: $(VENV)/$(EXTRAS)
	$(VENV)/bin/python -m pytest -q -n 2

fuzz: $(VENV)/$(EXTRAS)  ## 1,000 changed files of every format: some minutes
	for format in $$($(VENV)/bin/python -m tests.hostile.fuzz); do \
		timeout 1800 $(VENV)/bin/python -m tests.hostile.fuzz $$format 1000 || exit 1; done
	$(VENV)/bin/python -m tests.hostile.long

lint: $(VENV)/$(EXTRAS)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(VENV)/$(EXTRAS)  ## into docs/_build/html; a warning is an error
	$(VENV)/bin/sphinx-build -W --keep-going -q -b html docs docs/_build/html

report: $(VENV)/report
	$(TOOLKIT) report

train: $(VENV)/$(EXTRAS)  ## resumes when it was stopped
	$(TOOLKIT) train fragments --data $(DATA)/fragments --out runs/fragments --resume
	$(TOOLKIT) train grains --data $(DATA)/grains/steel --out runs/grains --resume
	$(TOOLKIT) train lines --data $(DATA)/lines --out runs/lines --resume
	$(TOOLKIT) train objects --data $(DATA)/objects/camvid --out runs/objects --resume
	$(TOOLKIT) train objects-person --data $(DATA)/objects/person --out runs/objects-person --resume

export: $(VENV)/$(EXTRAS)
	$(TOOLKIT) export fragments --run runs/fragments
	$(TOOLKIT) export grains --run runs/grains
	$(TOOLKIT) export lines --run runs/lines
	$(TOOLKIT) export objects --run runs/objects
	$(TOOLKIT) export objects-person --run runs/objects-person

clean:
	rm -rf $(VENV) build docs/_build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: $(VENV)/bin/python setup.cfg constraints.txt
	$(VENV)/bin/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/report: $(VENV)/bin/python setup.cfg constraints.txt
	$(VENV)/bin/pip install --quiet -c constraints.txt -e '.[report]'
	touch $@ $(VENV)/core

$(VENV)/$(EXTRAS): $(VENV)/bin/python setup.cfg constraints.txt
	$(VENV)/bin/pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	touch '$@' $(VENV)/core
