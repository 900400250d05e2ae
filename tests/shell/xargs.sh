# one process for each file, two at a time
seqkit split2 -p 3 -O parts "$FEW" 2> /dev/null
find parts -name '*.fasta' | sort | xargs -P 2 -I {} seqmask mask -q {} --bed {}.bed
seqmask mask -q "$FEW" --bed - | sort | diff - <(sort parts/*.bed)
