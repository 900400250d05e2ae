# right or wrong, from two tables by the names of their columns
tab=$(printf '\t')
column() { head -1 "$1" | tr '\t' '\n' | grep -nx "$2" | cut -d : -f 1; }
cut -f "1,$(column "$MASKS.tsv" superkingdom)" "$MASKS.tsv" | tail -n +2 | sort > predicted
cut -f "1,$(column "$LABELS" superkingdom)" "$LABELS" | tail -n +2 | sort > true
join -t "$tab" predicted true | awk -F '\t' '{ n++; right += $2 == $3 } END { print n, right / n }' > accuracy
grep -q '^500 0\.[0-9]*$' accuracy
