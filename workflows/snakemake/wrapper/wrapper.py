"""Snakemake wrapper for `seqmask mask`. Outputs are named as the options are: fasta, bed, tsv, hdf5, json_report."""

__author__ = "The seqmask developers"
__copyright__ = "Copyright 2026, The seqmask developers"
__license__ = "MIT"

from shlex import quote

from snakemake.shell import shell

KINDS = ("fasta", "bed", "tsv", "hdf5", "json_report")

log = snakemake.log_fmt_shell(stdout=False, stderr=True)
extra = snakemake.params.get("extra") or ""
model = snakemake.input.get("model") or snakemake.params.get("model", "")
if model:
    extra = f"--model {quote(str(model))} {extra}"

outputs = {name: path for name, path in snakemake.output.items() if name in KINDS}
if not outputs:
    raise ValueError(f"seqmask mask: name at least one output {', '.join(KINDS)}")
named = " ".join(f"--{name.replace('_', '-')} {quote(str(path))}" for name, path in outputs.items())

shell("seqmask mask {snakemake.input.reads:q} --threads {snakemake.threads} {named} {extra} {log}")
