# random access to the annotated FASTA
cp "$MASKS.fasta" reads.fasta
samtools faidx reads.fasta
samtools faidx reads.fasta "$(cut -f 1 reads.fasta.fai | sed -n 250p):11-40" | tail -n +2 | tr -d '\n' | wc -c | grep -qx 30
cut -f 1,2 reads.fasta.fai | diff - <(cut -f 1,2 "$MASKS.tsv" | tail -n +2)
