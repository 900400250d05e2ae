# stretches nearer than 12 nt joined, their mean score kept
sort -c -k1,1 -k2,2n "$MASKS.bed"
bedtools merge -d 12 -c 5 -o mean -i "$MASKS.bed" > joined.bed
test "$(wc -l < joined.bed)" -lt "$(wc -l < "$MASKS.bed")"
awk '$4 < 0 || $4 > 1000 { exit 1 }' joined.bed
