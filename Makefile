# make demo: learn codes of handwritten digits and evaluate them
# make test: lint, type-check and run all tests
# make test-oldest: install beside the oldest supported TensorFlow and Keras, train, search, export, and run tests
# make test-beam: the tests of Apache Beam, in an environment of its own
# make tables: write the tables of the documents from benchmarks/results
# make notebooks: run the notebooks and store them with what they printed and drew
# make docs: build the documentation as a site, build/docs/index.html
# make release: build a wheel and an sdist in dist/
PYTHON ?= python3
VENV ?= .venv
DEMO_DIR ?= runs/demo
# One process per test file, because its tests share trained models. In order of file names: sorted by
# number of tests, the slow files would come last.
IN_PARALLEL = --numprocesses=auto --dist=loadfile --no-loadscope-reorder --durations=25

# Tests start processes by the dozen. Without bytecode, each compiles all of TensorFlow's Python: 10 s.
unexport PYTHONDONTWRITEBYTECODE

# Tests make the same small models again and again. JAX compiles each of them once, with few optimizations.
ON_JAX = KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=1 \
	JAX_COMPILATION_CACHE_DIR=$(CURDIR)/build/jax \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1

# What depends on TensorFlow and needs no packages but pytest, hypothesis and the extra `demo`.
ON_OLDEST = tests/test_hamming.py tests/test_hamming_input.py tests/test_index.py tests/test_layers.py \
	tests/test_losses.py tests/test_metrics.py tests/test_models.py tests/test_callbacks.py tests/test_pretrained.py \
	tests/test_freezing.py tests/test_keras_private.py tests/test_keras_layers.py tests/test_encoding.py tests/test_decoding.py \
	tests/test_sizes.py tests/test_folder.py tests/test_several_labels.py tests/test_cli_labels.py \
	tests/test_export_signatures.py tests/test_export_search.py

.PHONY: demo test test-oldest test-beam tables notebooks docs release clean

demo: $(VENV)/installed-demo
	$(VENV)/bin/tfhash train --dataset=digits --bits=12 --output_dir=$(DEMO_DIR) --overwrite

test: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest $(IN_PARALLEL)
	$(ON_JAX) $(VENV)/bin/python -m pytest $(IN_PARALLEL) tests/test_codes.py tests/test_labels.py \
		tests/test_losses.py tests/test_loss_edges.py tests/test_every_loss.py tests/test_layers.py tests/test_metrics.py \
		tests/test_optimizers.py tests/test_models.py tests/test_callbacks.py tests/test_retrieval_evaluation.py \
		tests/test_self_training.py tests/test_stock_callbacks.py tests/test_backbones.py tests/test_centers.py \
		tests/test_keras_private.py tests/test_keras_layers.py tests/test_other_models.py
	$(VENV)/bin/python tools/tested_versions.py

test-oldest:
	PYTHON=$(PYTHON) tools/test_oldest.sh $(ON_OLDEST)

test-beam:
	tools/copy_tree.sh build/beam
	$(PYTHON) -m venv build/beam/.venv
	cd build/beam && .venv/bin/pip install --quiet --editable '.[beam,demo]' hypothesis pytest
	cd build/beam && .venv/bin/python -m pytest tests/test_beam*.py

tables:
	$(PYTHON) benchmarks/write_tables.py

notebooks: $(VENV)/installed-dev
	$(VENV)/bin/python tools/run_notebooks.py $(NOTEBOOKS)

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build

# The wheel is built from the sdist, so that an sdist that lacks a file does not pass. Without isolation, because ops are
# compiled against the TensorFlow that is installed here.
release: $(VENV)/installed-dev
	rm -rf dist
	$(VENV)/bin/python -m build --no-isolation
	$(VENV)/bin/python -m twine check --strict dist/*

$(VENV)/installed-%: pyproject.toml setup.py $(wildcard tfhash_ops/cc/*/*)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-compile --editable '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
