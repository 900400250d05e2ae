# line ends of another world
sed 's/$/\r/' "$FEW" | seqmask mask -q - --bed - | cmp - <(seqmask mask -q "$FEW" --bed -)
