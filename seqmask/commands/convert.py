"""`seqmask convert`: the HDF5 file of `seqmask mask` as what other tools read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from seqmask.config import ConvertOptions
from seqmask.errors import UsageError
from seqmask.results import convert as to
from seqmask.results.files import Sink, Target, check_targets, is_straight
from seqmask.results.reader import Results, read


def convert(options: ConvertOptions, say: Callable[[str], None]) -> None:
    """Write what is asked for; a file appears under its name when it is whole."""
    arrays = list(options.derived)
    paths = [options.bedgraph, options.bigwig, options.tokens, options.logo, *arrays]
    if not any(paths):
        raise UsageError("nothing to write: give --bedgraph, --bigwig, --tokens, --logo or --modisco")
    if (options.logo or arrays) and not options.sequences:
        raise UsageError("--logo and --modisco need --sequences: the files that were masked; HDF5 holds no sequences")
    piped = [path for path in options.sequences if is_straight(path) and not Path(path).is_dir()]
    if piped and options.logo and arrays:
        raise UsageError(f"--logo and --modisco both read {piped[0]}, which can be read once; give them a run each")
    check_targets(paths, options.force, inputs=[options.source, *options.sequences])
    for path in filter(None, [options.bigwig, *arrays]):
        if is_straight(path):
            raise UsageError(f"bigWig and npz need a seekable file, and {path} is none; give it a file name")
    names = frozenset(options.records)
    with read(options.source) as results, contextlib.ExitStack() as stack:  # all get their names, or none does
        column = to.track_of(results, options.rank)

        def target(path: str) -> Target:
            return stack.enter_context(Target(path))

        if options.bedgraph:
            _text(target(options.bedgraph), lambda sink: to.write_bedgraph(sink, results, column, names))
        if options.tokens:
            _text(target(options.tokens), lambda sink: to.write_tokens(sink, results, names))
        if options.logo:
            _text(target(options.logo), lambda sink: to.write_logos(sink, _sequences(results, options), column))
        if options.bigwig:
            to.write_bigwig(target(options.bigwig), results, column, names)
        if arrays:
            _arrays([target(path) for path in arrays], results, options, column)
        sizes = [len(record.spans) for record in to.tokens(results, names)] if names else []
        records, tokens = (len(sizes), sum(sizes)) if names else (results.n_records, results.n_tokens)
    say(f"{records} records, {tokens} tokens; wrote {', '.join(filter(None, paths))}")


def _text(target: Target, write: Callable[[Sink], None]) -> None:
    with contextlib.closing(target.open()) as sink:
        write(sink)


def _sequences(results: Results, options: ConvertOptions) -> to.Sequenced:
    records = to.tokens(results, frozenset(options.records))
    return to.with_sequences(records, results, [str(path) for path in options.sequences])


def _arrays(targets: list[Target], results: Results, options: ConvertOptions, column: int) -> None:
    found = to.modisco_arrays(_sequences(results, options), column, options.length)
    for target, arrays in zip(targets, found, strict=True):
        with target.working.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
