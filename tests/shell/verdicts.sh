# the sequences whose mask holds, taken from the input
awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) col[$i] = i; next }
             $col["superkingdom_verdict"] == "holds" { print $1 }' "$MASKS.tsv" > holds
seqkit grep --quiet -f holds "$READS" | seqkit seq -n -i | sort | diff - <(sort holds)
