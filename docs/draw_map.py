"""``make map``: draws which packages of nblaunch import from which, into ``docs/map.svg``.

A package stands above all that it imports from. An arrow that longer ways imply is left out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nblaunch"
MAP = ROOT / "docs" / "map.svg"

# Pixels.
_WIDTH, _HEIGHT = 142, 30
_ACROSS, _DOWN = 158, 70
_MARGIN = 16


def imports_of(package: Path) -> dict[str, set[str]]:
    """Return which parts of a package import from which, lazily too; what only a type checker sees does not count.

    A part is a package, a module beside the packages, or a package in ``processes``. The modules beside those there are
    one part.

    Parameters
    ----------
    package : Path
        Where the package lies.
    """
    modules = module_imports(package)
    found: dict[str, set[str]] = {_part(name): set() for name in modules}
    for name, imported in modules.items():
        found[_part(name)] |= {_part(other) for other in imported} - {_part(name)}
    return found


def module_imports(package: Path) -> dict[str, set[str]]:
    """Return which modules of a package import which, by their names below it; see `imports_of`.

    Raises
    ------
    ValueError
        If an import is relative.
    """
    files = {".".join(path.relative_to(package).with_suffix("").parts): path for path in package.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in files.items() if name != "__init__"}
    found = {}
    for name, path in modules.items():
        imported = {other if other in modules else other.rpartition(".")[0] for other in _imported(path, package.name)}
        found[name] = imported - {name, ""}
    return found


def _part(module: str) -> str:
    first, *rest = module.split(".")
    if first == "processes" and rest and rest[0] in ("child", "elastic", "gang", "starting", "watching"):
        return f"processes.{rest[0]}"
    if first == "processes":
        return "processes.api" if rest in ([], ["api"]) else "processes, shared"
    return first


def _imported(path: Path, package: str) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path} has a relative import")
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.removeprefix(f"{package}.") for name in names if name.startswith(f"{package}."))


def heights(imports: Mapping[str, set[str]]) -> dict[str, int]:
    """Return how high each part stands: one above the highest that it imports from.

    Raises
    ------
    ValueError
        If parts import from each other.
    """
    found: dict[str, int] = {}

    def height(part: str, way: tuple[str, ...]) -> int:
        if part in way:
            raise ValueError(f"a circle of imports: {' → '.join([*way[way.index(part) :], part])}")
        if part not in found:
            found[part] = max((height(below, (*way, part)) + 1 for below in imports[part]), default=0)
        return found[part]

    for part in imports:
        height(part, ())
    return found


def shortest(imports: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Return the imports that no longer way implies."""

    def reached(part: str) -> set[str]:
        return {inner for below in imports[part] for inner in (below, *reached(below))}

    return sorted(
        (part, below)
        for part, all_below in imports.items()
        for below in all_below
        if not any(below in reached(other) for other in all_below - {below})
    )


def svg(imports: Mapping[str, set[str]]) -> str:
    """Return the picture."""
    rows: dict[int, list[str]] = {}
    for part, height in heights(imports).items():
        rows.setdefault(height, []).append(part)
    widest, top = max(map(len, rows.values())), max(rows)
    width, tall = widest * _ACROSS + 2 * _MARGIN, top * _DOWN + _HEIGHT + 2 * _MARGIN
    places: dict[str, tuple[float, float]] = {}
    for height, parts in rows.items():
        left = (width - len(parts) * _ACROSS) / 2
        for index, part in enumerate(sorted(parts)):
            places[part] = left + (index + 0.5) * _ACROSS, _MARGIN + (top - height) * _DOWN
    size = f'viewBox="0 0 {width} {tall}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        "<title>The packages of nblaunch: each imports only from those below it</title>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">',
        '<path d="M0 0 8 4 0 8z" fill="#607d8b"/></marker></defs>',
        f'<rect width="{width}" height="{tall}" fill="#ffffff"/>',
    ]
    for part, below in shortest(imports):
        (x, y), (to, under) = places[part], places[below]
        begin, end = y + _HEIGHT, under - 1
        lines.append(
            f'<path d="M{x:g} {begin:g}C{x:g} {begin + 30:g} {to:g} {end - 34:g} {to:g} {end:g}" fill="none" '
            'stroke="#607d8b" stroke-width="1.1" marker-end="url(#end)"/>'
        )
    for part, (x, y) in places.items():
        lines.append(
            f'<rect x="{x - _WIDTH / 2:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" fill="#eceff1" '
            f'stroke="#607d8b"/><text x="{x:g}" y="{y + 20:g}" text-anchor="middle" fill="#263238">{part}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    MAP.write_text(svg(imports_of(PACKAGE)), encoding="utf-8")
    sys.stdout.write(f"{MAP.relative_to(ROOT)}\n")
