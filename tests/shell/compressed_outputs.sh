# the suffix decides; each tool reads its own
seqmask mask -q "$FEW" --fasta few.fasta.gz --bed few.bed.bz2 --tsv few.tsv.xz
zcat few.fasta.gz | grep -c '^>' | grep -qx 12
bzcat few.bed.bz2 | awk 'NF != 9 { exit 1 }'
xzcat few.tsv.xz | wc -l | grep -qx 13
