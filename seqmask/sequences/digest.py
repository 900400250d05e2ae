"""One digest of all records so far, which can be taken up again at any record."""

from __future__ import annotations

from hashlib import blake2b

from seqmask.sequences.records import Record


def chained(digest: str, record: Record) -> str:
    """Digest (32 hex digits) of the records whose digest is given, '' for none, and this one: header and letters."""
    text = f"{digest}\n{record.description}\n{record.sequence}"
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
