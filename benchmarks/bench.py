"""How fast is it, against what else one could do, and against what the machine can do? `make bench`.

    python benchmarks/bench.py [--rows mask,host] [--json bench.json] [--clock wall|cpu] [--quick]

Every ratio is measured side by side in this run. benchmarks/README.md says what each row is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROWS = {
    "explain": "one mask against LIME, integrated gradients and partition SHAP on the same classifier",
    "mask": "the whole command against the bare forward passes of the same batches",
    "peak": "share of the matrix-multiply peak of this run",
    "mix": "sorted token-budget batches against batches in file order, on short reads",
    "bf16": "bf16 autocast against fp32: speed, and what it does to masks",
    "host": "everything but the model, one core",
    "kmer": "tokenising, one core",
    "reading": "reading FASTA against Bio.SeqIO",
    "hdf5": "HDF5 against one row at a time",
    "start": "start-up: seqmask --help, and the first mask of a file of one read",
    "memory": "peak memory of a tenfold input",
    "gpu": "103,638 sequences of 512 tokens on CUDA",
}

MODULES = {  # of the folder `speed`; the others have the name of their row
    "host": ("host", "kmer", "reading", "hdf5"),
    "forward": ("mask", "peak", "mix", "bf16"),
    "process": ("start", "memory"),
}


def row(name: str) -> Callable[..., Any]:
    """The function of a row; only what it needs is imported."""
    module = next((module for module, names in MODULES.items() if name in names), name)
    found: Callable[..., Any] = getattr(import_module(f"speed.{module}"), name)
    return found


def main() -> None:
    options = arguments()
    from speed.measure import Settings

    if options.threads:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    threads = options.threads or len(os.sched_getaffinity(0))
    report: dict[str, Any] = {"machine": machine(threads), "clock": options.clock, "rows": {}}
    print(" ".join(f"{key} {value};" for key, value in report["machine"].items()), flush=True)
    line = "{:9} {:34} {:>12} {:>19} {:>12}  {}".format
    print(line("row", "figure", "median", "range", "bar", ""), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            options.clock, options.rounds, threads, options.quick, options.device, Path(folder), options.sequences
        )
        for name in options.rows:
            began = time.monotonic()
            figures = row(name)(settings)
            if isinstance(figures, str):
                print(f"{name:9} skipped: {figures}", flush=True)
                report["rows"][name] = {"what": ROWS[name], "skipped": figures, "figures": []}
                save(report, options.json)
                continue
            known: list[Any] = []
            for i, found in enumerate(figures):  # one by one, where a row yields them
                bar = "" if found.bar is None else f"{'>=' if found.least else '<='} {digits(found.bar)}"
                told = {True: "met", False: "MISSED", None: ""}[found.met]
                spread = f"{digits(found.low)}-{digits(found.high)}"
                value = f"{digits(found.value)} {found.unit}"
                print(line(name if i == 0 else "", found.name, value, spread, bar, told), flush=True)
                known.append(found.to_json())
                report["rows"][name] = {"what": ROWS[name], "seconds": time.monotonic() - began, "figures": known}
                save(report, options.json)


def save(report: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(report, indent=1) + "\n")


def digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine(threads: int) -> dict[str, Any]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1),  # much above 0: others are at work, and the figures say so
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "h5py")},
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--list", action="store_true", help="what the rows are")
    parser.add_argument("--json", type=Path, help="also write everything here, after each row")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of each row")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="of ratios; cpu on a busy machine")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 = all cores that this process may use")
    parser.add_argument("--device", default="cuda", help="of the row gpu")
    parser.add_argument("--sequences", type=int, default=0, help="of the row gpu, its bars in proportion; 0 = all")
    parser.add_argument("--quick", action="store_true", help="tiny inputs: shows that it runs, measures nothing")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name:9} {what}" for name, what in ROWS.items()))
        sys.exit(0)
    options.rows = [name.strip() for name in options.rows.split(",") if name.strip()]
    unknown = sorted(set(options.rows) - set(ROWS))
    if unknown:
        parser.error(f"--rows: no {', '.join(unknown)}; expected some of {', '.join(ROWS)}")
    return options


if __name__ == "__main__":
    main()
