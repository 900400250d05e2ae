# one output for each sample of a folder
mkdir samples
seqkit split2 -s 6 -O samples "$FEW" 2> /dev/null
for sample in samples/*.fasta; do
    seqmask mask -q "$sample" -o "${sample%.fasta}.masks"
done
test "$(cat samples/*.masks.tsv | grep -vc '^id')" -eq 12
