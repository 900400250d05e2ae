# FASTA goes on in the pipe, BED stays
seqmask mask -q "$FEW" --fasta - --bed kept.bed | seqkit seq -u | seqkit sum -a | cut -f 1 > masked
seqkit seq -u "$FEW" | seqkit sum -a | cut -f 1 | diff - masked
test "$(cut -f 1 kept.bed | sort -u | wc -l)" -le 12
