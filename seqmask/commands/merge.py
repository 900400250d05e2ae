"""`seqmask merge`: the outputs of `seqmask mask --shard 1/N` to `N/N` to the output of one run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from seqmask.config import MergeOptions
from seqmask.results.files import Target, check_targets
from seqmask.results.merge import HDF5, arrange, merge_hdf5, merge_text
from seqmask.results.shard import SUFFIX


def merge(options: MergeOptions, say: Callable[[str], None]) -> None:
    """Check that the shards belong together and are all there, then write them as one file."""
    inputs = [*options.shards, *(shard + SUFFIX for shard in options.shards)]
    check_targets([options.output], options.force, inputs=inputs)
    kind, paths, shards = arrange(options.shards)
    check_targets([options.output], options.force, seekable=[options.output if kind == HDF5 else None])
    with Target(options.output) as target:
        if kind == HDF5:
            merge_hdf5(paths, target.working, sys.argv, options.output)
        else:
            with contextlib.closing(target.open()) as sink:
                merge_text(kind, paths, sink)
    say(f"{len(paths)} {kind} shards, {shards[0].total} records")
