#!/usr/bin/env bash
# seqmask among the usual tools: what it writes goes into seqkit, bedtools, awk and cut as it is.
# Needs seqmask, seqkit and bedtools on PATH; takes another sequence file as its argument.
set -euo pipefail

reads=${1:-$(dirname "$0")/reads.fasta.gz}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

echo "== one run, all outputs: annotated FASTA, BED, TSV, HDF5"
seqmask mask -q "$reads" -o "$out/reads"

echo "== FASTA from a pipe to a pipe; letters in lower case are not important"
seqkit seq -m 300 "$reads" | seqmask mask -q - | seqkit stats -T -

echo "== records of which at least 30 % is kept, by the annotation in the header"
seqkit grep -n -r -p 'seqmask=kept:(0\.[3-9]|1\.)' "$out/reads.fasta" | seqkit stats -T -

echo "== kept stretches of genus less than 20 nt apart, merged, as sequences"
# one rank: each may have a mask of its own, and merging would join the lines of all
awk '$4 ~ /^genus:/' "$out/reads.bed" | sort -k1,1 -k2,2n | bedtools merge -d 20 -c 5 -o mean -i - > "$out/merged.bed"
awk -F '\t' '{ n += $3 - $2 } END { print NR, "stretches,", n + 0, "nt" }' "$out/merged.bed"
seqkit seq "$reads" > "$out/plain.fasta"
bedtools getfasta -fi "$out/plain.fasta" -bed "$out/merged.bed" | seqkit stats -T -

echo "== kept stretches by taxon, from the name column of the BED"
seqmask mask -q "$reads" --bed - | cut -f 4 | sort | uniq -c | sort -k1,1nr | sed -n 1,5p

echo "== predicted superkingdoms, from the TSV by the name of the column"
seqmask mask -q "$reads" --tsv - |
    awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) col[$i] = i; next } { print $col["superkingdom"] }' |
    sort | uniq -c | sort -k1,1nr

echo "== the five most certain records"
cut -f 1,2,7,8 "$out/reads.tsv" | tail -n +2 | sort -t $'\t' -k4,4gr | sed -n 1,5p
