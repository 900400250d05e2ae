"""The house rules, held against the syntax trees: who imports whom, what stays light, what is never used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "seqmask"

# A module imports from its own room and from rooms before it, never from a later one.
ROOMS = (
    "errors",
    "config",
    "version",
    "progress",
    "labels",
    "sequences",
    "models",
    "inference",
    "training",
    "evaluation",
    "results",
    "commands",
    "terminal",
    "cli",
    "__main__",
)
NO_TORCH = ("errors", "config", "version", "progress", "labels", "sequences", "results")
NO_TORCH_MODULES = tuple(
    f"evaluation.{name}"
    for name in (
        *("metrics", "controls", "simulate", "ranking", "faithfulness", "scores", "shape", "probe", "flags"),
        *("intervals", "truth", "annotations"),
    )
)
NO_TORCH_ELSEWHERE = (
    *("models.bundled", "models.describe", "models.storage"),
    *("commands.info", "commands.merge", "commands.convert"),
)
HEAVY = ("torch", "transformers", "accelerate", "safetensors.torch")
SLOW_TO_LOAD = ("torch", "transformers", "numpy", "h5py")


@dataclass(frozen=True)
class Import:
    """One imported module or name, in full: `from a.b import c` is `a.b.c`."""

    module: str
    line: int
    target: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"seqmask/{self.module.replace('.', '/')}.py:{self.line}: {self.target}"


def name_of(path: Path) -> str:
    """`seqmask/a/b.py` is `a.b`, `seqmask/a/__init__.py` is `a`, `seqmask/__init__.py` is the empty name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def trees() -> dict[str, ast.Module]:
    """Every module's syntax tree by its name within the package."""
    return {name_of(path): ast.parse(path.read_text(), str(path)) for path in sorted(PACKAGE.rglob("*.py"))}


def imports(module: str, tree: ast.AST) -> Iterator[Import]:
    """All imports of a module, those inside functions and under TYPE_CHECKING included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(module, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = "." * node.level + (node.module or "")
            yield Import(module, node.lineno, stem, tuple(alias.name for alias in node.names))


@cache
def all_imports() -> tuple[Import, ...]:
    return tuple(found for module, tree in trees().items() for found in imports(module, tree))


def own_targets(found: Import) -> list[str]:
    """The modules of the package that an import reaches, named within the package; '' is the package itself."""
    if found.target != "seqmask" and not found.target.startswith("seqmask."):
        return []
    stem = found.target.removeprefix("seqmask").removeprefix(".")
    if not found.names:
        return [stem]
    # `from seqmask.a import b` reaches the module a.b if there is one, otherwise a name in a
    joined = [f"{stem}.{name}".removeprefix(".") for name in found.names]
    return [name if name in trees() else stem for name in joined]


def room(module: str) -> str:
    return module.partition(".")[0]


def reaches(found: Import, *packages: str) -> bool:
    names = [found.target, *(f"{found.target}.{name}" for name in found.names)]
    return any(name == package or name.startswith(f"{package}.") for name in names for package in packages)


def test_every_module_has_a_room() -> None:
    assert {room(module) for module in trees()} - {""} <= set(ROOMS)


def test_imports_are_absolute() -> None:
    assert [str(found) for found in all_imports() if found.target.startswith(".")] == []


def test_rooms_import_only_from_rooms_above() -> None:
    wrong = [
        f"{found} (room {room(target)} comes after {room(found.module)})"
        for found in all_imports()
        for target in own_targets(found)
        if found.module and target and ROOMS.index(room(target)) > ROOMS.index(room(found.module))
    ]
    assert wrong == []


def test_nothing_imports_from_the_package_itself() -> None:
    # `from seqmask.errors import X` runs seqmask/__init__.py but takes nothing from it
    assert [str(found) for found in all_imports() if "" in own_targets(found)] == []


def test_no_cycles() -> None:
    edges: dict[str, set[str]] = {module: set() for module in trees()}
    for found in all_imports():
        edges[found.module] |= {t for t in own_targets(found) if t in edges and t != found.module}
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, "import cycle: " + " > ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in sorted(edges[module]):
                walk(target, (*path, module))
            done.add(module)

    for module in edges:
        walk(module, ())


def reached(module: str) -> set[str]:
    """A module and all that importing it runs within the package, parents included."""
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen or name not in trees():
            continue
        seen.add(name)
        todo += [target for found in all_imports() if found.module == name for target in own_targets(found)]
        todo.append(name.rpartition(".")[0])
    return seen


def test_light_rooms_stay_free_of_torch() -> None:
    """Neither by an import of their own nor through a module that they import."""
    light = [name for name in trees() if room(name) in NO_TORCH or name in NO_TORCH_MODULES + NO_TORCH_ELSEWHERE]
    heavy = {found.module: found for found in all_imports() if reaches(found, *HEAVY)}
    wrong = [f"{name} by {heavy[other]}" for name in light for other in sorted(reached(name)) if other in heavy]
    assert wrong == []


@pytest.mark.parametrize("start", ["terminal", "cli.app"])
def test_starting_up_loads_nothing_slow(start: str) -> None:
    """Neither by an import of their own nor through a room; what functions and type checkers import does not count."""
    todo, seen = [start], {""}
    slow = []
    while todo:
        module = todo.pop()
        seen.add(module)
        for found in at_import(module):
            slow += [str(found)] if reaches(found, *SLOW_TO_LOAD, *HEAVY) else []
            todo += [target for target in own_targets(found) if target not in seen]
    assert slow == []


def at_import(module: str) -> Iterator[Import]:
    """The imports that importing a module runs: outside definitions and `if TYPE_CHECKING`."""
    for node in trees()[module].body:
        checking = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not checking:
            yield from imports(module, node)


def test_no_click() -> None:
    """Typer brings its own; another one may be absent or of another version."""
    assert [str(found) for found in all_imports() if reaches(found, "click")] == []


def test_no_pickle() -> None:
    """A model is safetensors and JSON: opening one must never run code."""
    wrong = [
        str(f) for f in all_imports() if reaches(f, "pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve")
    ]
    wrong += [str(f) for f in all_imports() if f.target == "torch" and {"load", "save"} & set(f.names)]
    for module, tree in trees().items():
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save"):
                    wrong.append(f"{module}:{node.lineno}: torch.{node.attr}")
                case ast.keyword(arg="allow_pickle", value=value) if getattr(value, "value", True) is not False:
                    wrong.append(f"{module}:{value.lineno}: allow_pickle")
    assert wrong == []


PROBE = """
import json, sys
from seqmask.cli.app import main
code = 0
try:
    sys.argv = ["seqmask", *sys.argv[1:]]
    main()
except SystemExit as stop:
    code = stop.code or 0
print("\\n" + json.dumps([code, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_load_nothing_slow(argument: str) -> None:
    probe = subprocess.run([sys.executable, "-c", PROBE, argument], capture_output=True, text=True, check=True)
    code, loaded = json.loads(probe.stdout.splitlines()[-1])
    assert code == 0
    assert sorted(set(SLOW_TO_LOAD) & set(loaded)) == []


def test_running_as_a_module_is_as_light() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "seqmask", "--help"]
    trace = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    loaded = {line.rpartition("|")[2].strip() for line in trace.splitlines() if line.startswith("import time:")}
    assert sorted(set(SLOW_TO_LOAD) & loaded) == []
