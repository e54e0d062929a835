#!/usr/bin/env bash
# Copies the working tree, with changes and without what git ignores, to a folder: copy_tree.sh FOLDER
#
# Its environment (.venv) and what was compiled there (build) stay.
set -euo pipefail
copy=$1
cd "$(dirname "$0")/.."
mkdir -p "$copy"
find "$copy" -mindepth 1 -maxdepth 1 ! -name .venv ! -name build -exec rm -r {} +
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --create --null --files-from=- | tar --extract --directory="$copy"
