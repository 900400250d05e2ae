# FASTQ, gzip, from a file whose name says nothing
seqkit fx2tab "$FEW" | awk -F '\t' '{ q = $2; gsub(/./, "I", q); print "@" $1 "\n" $2 "\n+\n" q }' | gzip > reads
seqmask mask -q reads | seqkit seq -n -i > names
diff names <(seqkit seq -n -i "$FEW")
