#!/usr/bin/env bash
# The model `genomes`, from the data files to the directory that ships, its reports and its card.
# Usage: recipes/genomes.sh DATA_DIR [WORK_DIR]     (DATA_DIR holds genomes.fasta.gz and genomes.tsv.gz)
# About two and a half hours on two cores; each step is skipped when its result is there, so a stopped run goes on.
set -euo pipefail

data=${1:?DATA_DIR with genomes.fasta.gz and genomes.tsv.gz}
work=${2:-runs}
here=$(cd "$(dirname "$0")/.." && pwd)
read -ra seqmask <<< "${SEQMASK:-seqmask}"
sequences=$data/genomes.fasta.gz
labels=$data/genomes.tsv.gz
shipped=$here/seqmask/models/shipped/genomes
mkdir -p "$work" "$shipped"

[ -e "$work/genomes-classifier/report.json" ] ||
    "${seqmask[@]}" train-classifier "$sequences" --labels "$labels" --ranks superkingdom,phylum,genus \
        --size small --operator blend --bag-epochs 16 --bag-learning-rate 0.03 --steps 4000 --learning-rate 0.001 \
        --seed 1 -o "$work/genomes-classifier" --resume

[ -e "$work/genomes/explainer-report.json" ] ||
    "${seqmask[@]}" train-explainer "$sequences" --labels "$labels" --classifier "$work/genomes-classifier" \
        --target-area 0.3 --frames 2 --learning-rate 0.0001 --steps 160 --validations 4 --validation-limit 200 --seed 1 -o "$work/genomes" --resume

for split in test_species test_gene; do
    [ -e "$work/genomes-$split.json" ] ||
        "${seqmask[@]}" evaluate "$sequences" --labels "$labels" --split "$split" --limit 400 --seed 1 \
            --model "$work/genomes" --json "$work/genomes-$split.json"
done

[ -e "$work/genomes-baseline.json" ] ||
    python "$here/benchmarks/baseline_kmer.py" "$sequences" --labels "$labels" --k 5 --epochs 12 \
        --json "$work/genomes-baseline.json"

for name in classifier.safetensors classifier.json tokenizer.json labels.json classifier-report.json \
    explainer.safetensors explainer.json explainer-report.json; do
    cp "$work/genomes/$name" "$shipped/$name"
done
python "$here/benchmarks/model_card.py" "$shipped" "$work/genomes-test_species.json" "$work/genomes-test_gene.json" \
    --baseline "$work/genomes-baseline.json" -o "$here/docs/models/genomes.md"
