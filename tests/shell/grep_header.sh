# records of which much is kept, by the annotation in the header
seqkit grep --quiet -n -r -p 'seqmask=kept:(0\.[5-9]|1\.)' "$MASKS.fasta" | seqkit seq -n -i | sort > by_header
awk -F '\t' 'NR > 1 && $5 >= 0.49995 { print $1 }' "$MASKS.tsv" | sort | join -v 1 by_header - | wc -l | grep -qx 0
