#!/usr/bin/env bash
# From labelled sequences to masks and their evaluation, on the small example set: minutes on two cores, no GPU.
# Usage: examples/train.sh [DIRECTORY]   (default ./example-output; what it holds already is not replaced)
# SEQMASK is the command to run, `seqmask` by default; `SEQMASK="python -m seqmask"` is possible too.
set -euo pipefail

data=$(dirname "$0")/small
out=${1:-example-output}
read -ra seqmask <<< "${SEQMASK:-seqmask}"
mkdir -p "$out"

echo "== 1/4 train-classifier: splits train, val and test_species are those of the label table"
"${seqmask[@]}" train-classifier "$data/small.fasta.gz" --labels "$data/small.tsv" --output "$out/classifier" \
    --size tiny --min-per-class 4 --bag-epochs 20 --steps 200 --batch-tokens 4096

echo "== 2/4 train-explainer: the classifier stays frozen; thresholds, one a rank, are chosen on split val"
"${seqmask[@]}" train-explainer "$data/small.fasta.gz" --labels "$data/small.tsv" --classifier "$out/classifier" \
    --output "$out/model" --mask-per-rank --target-area 0.4 --steps 60 --effect-tokens 6 --learning-rate 7e-4 \
    --batch-tokens 3072 --validations 2 --validation-limit 100

echo "== 3/4 mask: annotated FASTA, BED, TSV and HDF5, each mask checked"
"${seqmask[@]}" mask "$data/small.fasta.gz" --model "$out/model" --output "$out/masks" --check

echo "== 4/4 evaluate: hard masks against controls of the same area, on species that training never saw"
"${seqmask[@]}" evaluate "$data/small.fasta.gz" --model "$out/model" --labels "$data/small.tsv" --split test_species \
    --json "$out/evaluation.json"

echo "== done: $out holds classifier/, model/, masks.* and evaluation.json; docs/evaluation.md says how to read the tables"
