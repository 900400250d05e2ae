# stretches by class, from the name column
cut -f 4 "$MASKS.bed" | sort | uniq -c | sort -k1,1nr > counts
test "$(awk '{ n += $1 } END { print n }' counts)" -eq "$(wc -l < "$MASKS.bed")"
grep -q 'genus:' counts
