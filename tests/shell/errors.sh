# 1 is bad data, 2 a wrong command line; one line says what, and no file is left
code=0; seqmask mask -q nowhere.fasta --bed kept.bed 2> message || code=$?
test $code -eq 1 -a "$(wc -l < message)" -eq 1
code=0; seqmask mask "$FEW" --no-such-option 2> /dev/null || code=$?
test $code -eq 2
head -c 5000 "$READS" > broken.fasta.gz
code=0; seqmask mask -q broken.fasta.gz --bed kept.bed 2> message || code=$?
test $code -eq 1
grep -q broken.fasta.gz message
test ! -e kept.bed
