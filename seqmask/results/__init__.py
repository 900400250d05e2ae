"""Everything that is written or read back: annotated FASTA, BED, TSV and HDF5. No torch."""
