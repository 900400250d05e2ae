"""Which other attribution methods there are, what their names mean, and which packages they need. No torch."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass

from seqmask.errors import UsageError, install


@dataclass(frozen=True, slots=True)
class Method:
    """package: the one it needs, or empty. count: passes where the name gives no number, 0 where it takes none.

    least: the smallest number that means anything.
    """

    package: str = ""
    count: int = 0
    least: int = 1


# The numbers are the habits of each method's users: Captum's default steps, SHAP's default evaluations; LIME's own
# default is 5,000 samples. "-odds": of the class's log odds instead of its logit, which for tokens that speak for the
# class and its nearest rival alike makes all the difference; the strongest rivals here, though nobody's habit.
METHODS = {
    "saliency": Method("captum"),
    "gradxinput": Method("captum"),
    "ig": Method("captum", 50),
    "ig-odds": Method("captum", 50),
    "occlusion": Method(),
    "occlusion-odds": Method(),
    "rollout": Method(),
    "lime": Method("lime", 1000, 2),
    "shap": Method("shap", 500, 4),
    "random": Method(),
}


@dataclass(frozen=True, slots=True)
class Rival:
    """A method as it was asked for. kind: a key of METHODS; count: steps, samples or evaluations, 0 where none."""

    name: str
    kind: str
    count: int


def parse(names: str) -> tuple[Rival, ...]:
    """Rivals from `saliency,ig-20,lime`, in order, each once; an empty text is no rival.

    UsageError for a name that is no method, a number where none belongs or too small a one, and for a package that is
    not installed.
    """
    found = {name.strip(): _rival(name.strip()) for name in names.split(",") if name.strip()}
    packages = sorted({METHODS[rival.kind].package for rival in found.values()} - {""})
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UsageError(f"--rivals {names}: {' and '.join(missing)} not installed; {install('rivals')}")
    return tuple(found.values())


def _rival(name: str) -> Rival:
    match = re.fullmatch(r"([a-z]+(?:-odds)?)(?:-(\d+))?", name)
    method = METHODS.get(match[1]) if match else None
    if match is None or method is None:
        raise UsageError(f"--rivals {name}: no such method; expected {', '.join(METHODS)} or, say, ig-20 or lime-5000")
    if match[2] is None:
        return Rival(name, match[1], method.count)
    if not method.count:
        raise UsageError(f"--rivals {name}: {match[1]} takes no number; use {match[1]}")
    if int(match[2]) < method.least:
        raise UsageError(f"--rivals {name}: expected at least {match[1]}-{method.least}")
    return Rival(name, match[1], int(match[2]))
