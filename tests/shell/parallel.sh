# shards by GNU parallel, then one file
parallel --will-cite -j 2 seqmask mask -q "$FEW" --shard {}/3 --bed part{}.bed --hdf5 part{}.h5 ::: 1 2 3
seqmask merge -q part?.bed -o - | cmp - <(seqmask mask -q "$FEW" --bed -)
seqmask merge -q part?.h5 -o few.h5
python -c 'import h5py; assert h5py.File("few.h5").attrs["n_records"] == 12'
