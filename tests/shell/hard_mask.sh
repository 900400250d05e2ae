# N for what is not kept, as bedtools does it
seqmask mask -q "$FEW" --hard-mask --fasta hard.fasta --bed kept.bed
seqkit fx2tab -n -i -l "$FEW" > genome
bedtools complement -i kept.bed -g genome | bedtools maskfasta -fi "$FEW" -bed - -fo expected.fasta
diff <(seqkit seq -s -u -w 0 hard.fasta) <(seqkit seq -s -u -w 0 expected.fasta)
