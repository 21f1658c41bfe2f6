"""The panel's JavaScript files, joined into the one module that a page loads.

A page cannot load several files: a widget's module has no address, so it cannot import another file by a relative one.
So each file becomes a function, behind those that it imports from::

    // What is held of one log.                const log_js = (() => {
    import { Line } from "./line.js";    ─►    const { Line } = line_js;
    class Log { … }                            class Log { … }
    export { Log };                            return { Log };
                                               })();

Names that a file does not export are local to its function, so names of different files cannot clash. A file has, in
this order: its imports, its code, and its exports as the last line, with comments anywhere. Each import is one line as
above. The last line of the file that a page loads is ``export default NAME;``. Anything else raises a `JoiningError`:
otherwise it would only be noticed in a browser.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["STATIC", "JoiningError", "module_source"]

STATIC = Path(__file__).parent / "static"

_IMPORT = "import { "
_FROM = ' } from "./'
_EXPORT = "export { "
_DEFAULT = "export default "


class JoiningError(Exception):
    """A JavaScript file breaks the rules for the panel's files; the message says where, and which rule."""


@dataclass(frozen=True)
class _File:
    name: str
    # names by the file that they come from
    imports: dict[str, list[str]]
    code: list[str]
    exports: list[str]
    is_default: bool

    def as_function(self) -> list[str]:
        """Return it as lines of code; the function is named as the file is."""
        taken = [f"const {{ {', '.join(names)} }} = {_variable(name)};" for name, names in self.imports.items()]
        given = self.exports[0] if self.is_default else f"{{ {', '.join(self.exports)} }}"
        return [f"const {_variable(self.name)} = (() => {{", *taken, *self.code, f"return {given};", "})();"]


@cache
def module_source(entry: str = "panel.js", folder: Path = STATIC) -> str:
    """Return a file with all that it imports, as the source of one module.

    Comment lines are left out, because the source is sent with each widget.

    Parameters
    ----------
    entry : str
        Name of the file; its default export becomes that of the module.
    folder : Path
        Where the files are.

    Raises
    ------
    JoiningError
        If a file breaks the rules above, or files import each other.
    """
    files: dict[str, _File] = {}
    _gather(entry, folder, files, ())
    if not files[entry].is_default:
        raise JoiningError(f"{entry}: its last line must be 'export default NAME;', because a page loads it")
    lines = [line for file in files.values() for line in file.as_function()]
    return "\n".join([*lines, f"export default {_variable(entry)};", ""])


def _gather(name: str, folder: Path, files: dict[str, _File], importers: tuple[str, ...]) -> None:
    """Put a file into `files`, behind those that it imports from."""
    if name in importers:
        raise JoiningError(f"{' imports '.join((*importers, name))}: files that import each other cannot be joined")
    if name in files:
        return
    try:
        text = (folder / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise JoiningError(f"{importers[-1] if importers else folder}: there is no file {name}") from None
    file = _read(name, text)
    for other, names in file.imports.items():
        _gather(other, folder, files, (*importers, name))
        if files[other].is_default:
            raise JoiningError(f"{name}: nothing can be imported from {other}, which has a default export")
        if missing := [wanted for wanted in names if wanted not in files[other].exports]:
            raise JoiningError(f"{name}: {other} does not export {', '.join(missing)}")
    files[name] = file


def _read(name: str, text: str) -> _File:
    imports: dict[str, list[str]] = {}
    code: list[str] = []
    exports: list[str] = []
    is_default = in_comment = False
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{name}, line {number}"
        stripped = line.strip()
        if in_comment:
            in_comment = "*/" not in stripped
            if not in_comment and not stripped.endswith("*/"):
                raise JoiningError(f"{where}: code must not begin behind the end of a comment of several lines")
        elif stripped.startswith("/*") and ("*/" not in stripped or stripped.index("*/") == len(stripped) - 2):
            in_comment = "*/" not in stripped
        elif not stripped or stripped.startswith("//"):
            continue
        elif exports:
            raise JoiningError(f"{where}: the exports must be the last line")
        elif line.startswith("import"):
            if code:
                raise JoiningError(f"{where}: imports must stand before the code")
            names, from_file = _imported(where, line)
            imports.setdefault(from_file, []).extend(names)
        elif line.startswith(_DEFAULT):
            is_default, exports = True, _listed(where, line, _DEFAULT, ";")
        elif line.startswith("export"):
            exports = _listed(where, line, _EXPORT, " };")
        elif line.count("`") % 2 or line.endswith("\\"):
            # the next line of such a text could look like a comment, an import or an export
            raise JoiningError(f"{where}: a text must end in its line")
        else:
            code.append(line)
    if not exports:
        raise JoiningError(f"{name}: its last line must be its exports, as in 'export {{ NAME, OTHER }};'")
    return _File(name, imports, code, exports, is_default)


def _imported(where: str, line: str) -> tuple[list[str], str]:
    head, found, end = line.partition(_FROM)
    if not found or not end.endswith('.js";') or not end.removesuffix('.js";').isidentifier():
        raise JoiningError(
            f"""{where}: an import must be one line, as in 'import {{ NAME, OTHER }} from "./FILE.js";'"""
        )
    return _listed(where, head, _IMPORT, ""), end.removesuffix('";')


def _listed(where: str, line: str, start: str, end: str) -> list[str]:
    names = [name.strip() for name in line.removeprefix(start).removesuffix(end).split(",")]
    if not (line.startswith(start) and line.endswith(end) and all(map(str.isidentifier, names))):
        raise JoiningError(f"{where}: it must read '{start}NAME{end}', with names as they are and nothing else")
    return names


def _variable(name: str) -> str:
    return name.replace(".", "_")
