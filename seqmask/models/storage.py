"""Small files of a model directory: JSON, and digests. No torch, so that describing a model does not wait for it."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from seqmask.errors import InputError


def file_sha256(path: Path) -> str:
    """Digest of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_json(path: Path, data: Any) -> None:
    """Write JSON through a temporary name, so that no half-written file is ever seen."""
    temporary = path.with_name(f".{path.name}.tmp")
    text = json.dumps(finite(data), indent=1, ensure_ascii=False, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def finite(data: Any) -> Any:
    """NaN and infinities as null: JSON has no word for them."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return data


def read_json(path: Path) -> Any:
    """Content of a JSON file; InputError where it is absent or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(path, "no such file", remedy="give a directory that seqmask has written") from error
    except (ValueError, OSError) as error:
        raise InputError(path, f"not readable as JSON ({error})") from error
