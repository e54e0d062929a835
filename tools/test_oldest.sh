#!/usr/bin/env bash
# Uses and tests tfhash beside the oldest TensorFlow and Keras that it supports, installed as the documentation says.
#
# In a copy of the working tree, because the ops of an editable installation fit one TensorFlow.
# Arguments are those of pytest.
set -euo pipefail
unset PYTHONPATH
cd "$(dirname "$0")/.."
python=$(realpath --no-symlinks "$(command -v "${PYTHON:-python3}")")
oldest() { sed -n "s/.*\"$1>=\([0-9.]*\),.*/\1/p" setup.py; }
tensorflow=$(oldest tensorflow)
keras=$(oldest keras)
tools/copy_tree.sh build/oldest
cd build/oldest

"$python" -m venv .venv
.venv/bin/pip install --quiet "tensorflow==$tensorflow.*" "keras==$keras.*"
.venv/bin/pip install --quiet --editable '.[demo]' hypothesis pytest
.venv/bin/python -c "
import keras, tensorflow as tf, tfhash_ops
print('TensorFlow', tf.__version__, 'Keras', keras.__version__, 'kernel', tfhash_ops.cpu_kernel())
kept = tf.__version__.startswith('$tensorflow.') and keras.__version__.startswith('$keras.')
assert kept and tfhash_ops.is_compiled()"

run=runs/digits-12
.venv/bin/tfhash train --dataset=digits --bits=12 --overwrite
.venv/bin/tfhash evaluate --model=$run --dataset=digits
.venv/bin/tfhash index --codes=$run/database.npz --output=runs/digits.index
.venv/bin/tfhash search --codes=$run/database.npz --index=runs/digits.index -k=3 --format=csv > runs/found.csv
.venv/bin/tfhash export --model=$run --output_dir=runs/served --index=runs/digits.index

.venv/bin/python -m pytest "$@"
