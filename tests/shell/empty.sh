# no sequences: all outputs are there and valid
seqmask mask -q - -o empty < /dev/null
test ! -s empty.fasta -a ! -s empty.bed
test "$(wc -l < empty.tsv)" -eq 1
bedtools merge -i empty.bed | wc -l | grep -qx 0
