# the kept stretches as sequences are the capital letters of the FASTA
seqkit seq -u "$MASKS.fasta" > upper.fasta
bedtools getfasta -fi upper.fasta -bed "$MASKS.bed" -tab | cut -f 2 | tr -d '\n' > cut
seqkit seq -s -w 0 "$MASKS.fasta" | tr -d '\na-z' | cmp - cut
