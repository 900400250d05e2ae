# only the long ones, and the table on stdout
seqkit seq -m 400 "$FEW" | seqmask mask -q --tsv - | cut -f 1,2 | awk 'NR > 1 && $2 < 400 { exit 1 }'
