#!/usr/bin/env bash
# Uses and tests tfhash beside the oldest TensorFlow that it supports, installed by the documented commands.
#
# In a copy of the working tree, because the ops of an editable installation fit one TensorFlow.
# Arguments are those of pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^SUPPORTED_TENSORFLOW = "tensorflow>=\(.*\),.*"/\1/p' setup.py)
copy=build/oldest
mkdir -p "$copy"
# What was compiled stays.
find "$copy" -mindepth 1 -maxdepth 1 ! -name .venv ! -name build -exec rm -r {} +
git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- |
    tar --extract --directory="$copy"
cd "$copy"

"${PYTHON:-python3}" -m venv .venv
.venv/bin/pip install --quiet "tensorflow==$version.*"
.venv/bin/pip install --quiet --editable '.[demo]' hypothesis pytest
.venv/bin/python -c "
import tensorflow as tf, tfhash_ops
print('TensorFlow', tf.__version__, tfhash_ops.cpu_kernel())
assert tf.__version__.startswith('$version.') and tfhash_ops.is_compiled()"

run=runs/digits-12
.venv/bin/tfhash train --dataset=digits --bits=12 --overwrite
.venv/bin/tfhash evaluate --model=$run --dataset=digits
.venv/bin/tfhash index --codes=$run/database.npz --output=runs/digits.index
.venv/bin/tfhash search --codes=$run/database.npz --index=runs/digits.index -k=3 --format=csv | head -n 5
.venv/bin/tfhash export --model=$run --output_dir=runs/served --index=runs/digits.index

.venv/bin/python -m pytest "$@"
