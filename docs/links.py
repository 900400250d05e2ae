"""Hook of mkdocs: a link from docs/ to a file beside docs/ becomes that file's name, for the site holds docs/ only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page's text with such links replaced; a link to a file that does not exist is left for mkdocs to refuse."""
    here = (ROOT / "docs" / page.file.src_uri).parent

    def name(found: re.Match[str]) -> str:
        target = (here / found[2]).resolve()
        if not target.exists() or target.is_relative_to(ROOT / "docs"):
            return found[0]
        path = f"`{target.relative_to(ROOT)}`"
        return path if found[1].strip("`") == path.strip("`") else f"{found[1]} ({path})"

    return LINK.sub(name, markdown)
