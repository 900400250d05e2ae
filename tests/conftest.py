"""What every test may lean on: peer tools by name, and one torch thread in each parallel worker."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

# Before anything imports torch: two workers with two threads each would fight over the cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

REQUIRE_PEERS = "SEQMASK_REQUIRE_PEERS"


def find_peer(name: str) -> str:
    """Path of an external tool; without it the test is skipped, or fails where SEQMASK_REQUIRE_PEERS=1."""
    path = shutil.which(name)
    if path is not None:
        return path
    if os.environ.get(REQUIRE_PEERS) == "1":
        pytest.fail(f"{name} is not on PATH, and {REQUIRE_PEERS}=1 asks for it", pytrace=False)
    pytest.skip(f"{name} is not on PATH")


@pytest.fixture(scope="session")
def peer() -> Callable[[str], str]:
    """`peer("bedtools")` is the tool's path."""
    return find_peer
