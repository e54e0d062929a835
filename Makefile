# make demo: learn codes of handwritten digits and show what they find
# make test: lint and run all tests
PYTHON ?= python3
VENV ?= .venv
DEMO_DIR ?= runs/demo
# A file of tests stays in one process, for its tests share what they train. Files go in the order of
# their names: by their number of tests, the slow ones would come last.
IN_PARALLEL = --numprocesses=auto --dist=loadfile --no-loadscope-reorder

.PHONY: demo test clean

demo: $(VENV)/installed-demo
	$(VENV)/bin/tfhash train --dataset=digits --bits=12 --output_dir=$(DEMO_DIR) --overwrite

test: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest $(IN_PARALLEL)
	KERAS_BACKEND=jax $(VENV)/bin/python -m pytest $(IN_PARALLEL) tests/test_codes.py tests/test_labels.py \
		tests/test_losses.py tests/test_every_loss.py tests/test_layers.py tests/test_metrics.py \
		tests/test_optimizers.py tests/test_models.py tests/test_callbacks.py \
		tests/test_self_training.py

$(VENV)/installed-%: pyproject.toml setup.py $(wildcard tfhash_ops/cc/*/*)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-compile --editable '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
