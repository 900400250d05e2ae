"""The version, by the distribution's name: the name `seqmask` belongs to another project on PyPI."""

from __future__ import annotations

DISTRIBUTION = "seqmask-xai"


def version() -> str:
    """Version of the installed distribution."""
    from importlib.metadata import version as installed

    return installed(DISTRIBUTION)
