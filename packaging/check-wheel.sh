#!/usr/bin/env bash
# Builds sdist and wheel, installs the wheel into a fresh environment and masks the example reads with the model inside.
# Usage: packaging/check-wheel.sh PYTHON [TORCH]
# PYTHON has `build` and `hatchling`. TORCH (such as torch==2.13.0) is installed first, then the wheel with all that it
# asks for. Without TORCH nothing is downloaded: the fresh environment borrows what PYTHON's has, but seqmask itself.
set -euo pipefail

python=$(realpath -s "$1")
torch=${2:-}
root=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== sdist, and from it the wheel"
"$python" -m build --no-isolation --outdir "$work/dist" "$root" > "$work/build.log" 2>&1 ||
    { cat "$work/build.log" >&2; exit 1; }
ls -l "$work/dist" | awk 'NR > 1 {printf "%12d  %s\n", $5, $9}'

echo "== a fresh environment"
"$python" -m venv "$work/venv"
fresh=$work/venv/bin/python
if [ -n "$torch" ]; then
    "$fresh" -m pip install --quiet "$torch"
    "$fresh" -m pip install --quiet "$work"/dist/*.whl
    "$fresh" -m pip check
else
    # A line in a .pth file adds that folder alone: .pth files inside it, as of an editable seqmask, are not read
    "$python" -c 'import sys; print(*(path for path in sys.path if path.endswith("site-packages")), sep="\n")' > \
        "$("$fresh" -c 'import site; print(site.getsitepackages()[0])')/borrowed.pth"
    "$fresh" -m pip install --quiet --no-deps --no-index "$work"/dist/*.whl
fi

echo "== the model that ships, in an empty directory"
mkdir "$work/run"
cd "$work/run"
"$fresh" -c 'import seqmask, sys; assert seqmask.__file__.startswith(sys.prefix), seqmask.__file__'
"$work/venv/bin/seqmask" --version
"$work/venv/bin/seqmask" mask --quiet "$root/examples/reads.fasta.gz" -x cpu -o reads
test "$(wc -l < reads.tsv)" -eq 501
test "$(grep -c '^>' reads.fasta)" -eq 500
test -s reads.bed -a -s reads.h5
