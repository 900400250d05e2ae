# compressed reads through seqmask into seqkit
seqkit seq -m 300 "$FEW" | gzip | zcat | seqmask mask -q - | seqkit stats -T | cut -f 4 | tail -n 1 > count
seqkit seq -m 300 -n "$FEW" | wc -l | diff - count
