# a second run does not overwrite
echo precious > kept.bed
code=0; seqmask mask -q "$FEW" --bed kept.bed 2> /dev/null || code=$?
test $code -eq 2
grep -qx precious kept.bed
