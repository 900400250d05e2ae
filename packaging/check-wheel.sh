#!/usr/bin/env bash
# Builds sdist and wheel, installs the wheel into a fresh environment and masks the example reads with the model inside.
# Usage: packaging/check-wheel.sh PYTHON [TORCH]   (PYTHON has `build`; TORCH as for pip, default torch==2.13.0)
set -euo pipefail

python=$(realpath -s "$1")
torch=${2:-torch==2.13.0}
root=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== sdist, and from it the wheel"
"$python" -m build --outdir "$work/dist" "$root" > "$work/build.log" || { cat "$work/build.log"; exit 1; }
ls -l "$work/dist" | awk 'NR > 1 {printf "%12d  %s\n", $5, $9}'

echo "== a fresh environment with the wheel and what it asks for"
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet "$torch"
"$work/venv/bin/python" -m pip install --quiet "$work"/dist/*.whl
"$work/venv/bin/python" -m pip check

echo "== the model that ships, in an empty directory"
mkdir "$work/run"
cd "$work/run"
"$work/venv/bin/seqmask" --version
"$work/venv/bin/seqmask" mask --quiet "$root/examples/reads.fasta.gz" -x cpu -o reads
test "$(wc -l < reads.tsv)" -eq 501
test "$(grep -c '^>' reads.fasta)" -eq 500
test -s reads.bed -a -s reads.h5
