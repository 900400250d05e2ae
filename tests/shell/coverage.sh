# nucleotides that the BED covers are the capital letters, sequence by sequence
cut -f 1,2 "$MASKS.tsv" | tail -n +2 > genome
bedtools genomecov -i "$MASKS.bed" -g genome | awk '$1 != "genome" && $2 == 1 { print $1, $3 }' | sort > covered
seqkit fx2tab -i "$MASKS.fasta" | awk '{ n = gsub(/[A-Z]/, "", $2); if (n) print $1, n }' | sort | diff - covered
