"""The JavaScript files of the panel, and the one module that they are joined into."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from nblaunch.panel.joining import STATIC, JoiningError, module_source

FILES = sorted(path.name for path in STATIC.glob("*.js"))
# What pages load.
ENTRIES = ("panel.js", "resting.js")
MAX_LINES = 400

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node here")


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def evaluate(module: str, expression: str) -> object:
    """Return what an expression is in JavaScript, in which the default export of a module is `it`."""
    script = f"""
        const it = (await import("data:text/javascript," + encodeURIComponent({json.dumps(module)}))).default;
        console.log(JSON.stringify({expression}));
    """
    done = subprocess.run(["node", "--input-type=module"], input=script, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


GOOD = {
    "panel.js": """// A panel.
import { b } from "./b.js";
import { a } from "./a.js";

// Its own.
const own = "panel";
/** @type {string[]} */
const panel = [a(), b(), own];

export default panel;
""",
    "a.js": """const own = "a";

/**
 * Comment.
 */
function a() {
  return /** @type {string} */ (own); // stays
}

export { a };
""",
    "b.js": """import { a } from "./a.js";

const own = `b // of ${a()}`;
const b = () => own;

export { b };
""",
}


@needs_node
def test_files_see_what_they_import_and_nothing_else_of_one_another(tmp_path: Path) -> None:
    module = module_source("panel.js", write(tmp_path, GOOD))
    assert evaluate(module, "it") == ["a", "b // of a", "panel"]


def test_each_file_is_there_once_behind_those_that_it_imports_from(tmp_path: Path) -> None:
    module = module_source("panel.js", write(tmp_path, GOOD))
    heads = [line for line in module.splitlines() if line.endswith("(() => {")]
    assert heads == [f"const {name}_js = (() => {{" for name in ("a", "b", "panel")]
    assert "Comment" not in module
    assert "return /** @type {string} */ (own); // stays" in module


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.js", None, "b.js: there is no file a.js"),
        ("a.js", "const a = 1;\n", "a.js: its last line must be its exports, as in 'export { NAME, OTHER };'"),
        ("a.js", "const b = 1;\n\nexport { b };\n", "b.js: a.js does not export a"),
        (
            "a.js",
            "const a = 1;\n\nexport default a;\n",
            "b.js: nothing can be imported from a.js, which has a default export",
        ),
        ("a.js", "export { a };\nconst a = 1;\n", "a.js, line 2: the exports must be the last line"),
        (
            "a.js",
            "export const a = 1;\n",
            "a.js, line 1: it must read 'export { NAME };', with names as they are and nothing else",
        ),
        ("a.js", "const c = 1;\nexport { c as a };\n", "a.js, line 2: it must read 'export { NAME };'"),
        ("a.js", 'export * from "./c.js";\n', "a.js, line 1: it must read 'export { NAME };'"),
        ("a.js", "export default { a: 1 };\n", "a.js, line 1: it must read 'export default NAME;'"),
        (
            "a.js",
            'import {\n  c,\n} from "./c.js";\n',
            "a.js, line 1: an import must be one line, as in 'import { NAME, OTHER }",
        ),
        ("a.js", 'import { c } from "c";\n', "a.js, line 1: an import must be one line"),
        ("a.js", 'import { c } from "./c d.js";\n', "a.js, line 1: an import must be one line"),
        ("a.js", 'import { c as a } from "./c.js";\n', "a.js, line 1: it must read 'import { NAME', with names"),
        ("a.js", 'const a = 1;\nimport { c } from "./c.js";\n', "a.js, line 2: imports must stand before the code"),
        ("a.js", "const a = `\nexport { b };\n`;\n", "a.js, line 1: a text must end in its line"),
        ("a.js", "const a = 'b\\\n// c';\n", "a.js, line 1: a text must end in its line"),
        (
            "a.js",
            "/*\n * c\n */ const a = 1;\n",
            "a.js, line 3: code must not begin behind the end of a comment of several lines",
        ),
        (
            "a.js",
            'import { b } from "./b.js";\nconst a = b;\nexport { a };\n',
            "panel.js imports b.js imports a.js imports b.js: files that import each other cannot be joined",
        ),
        ("panel.js", GOOD["a.js"], "panel.js: its last line must be 'export default NAME;', because a page loads it"),
    ],
)
def test_whatever_could_be_joined_wrongly_is_an_error(
    tmp_path: Path, name: str, text: str | None, problem: str
) -> None:
    files = {**GOOD, **({} if text is None else {name: text})}
    if text is None:
        del files[name]
    with pytest.raises(JoiningError) as raised:
        module_source("panel.js", write(tmp_path, files))
    assert str(raised.value).startswith(problem)


@needs_node
@pytest.mark.parametrize("entry", ENTRIES)
def test_what_a_page_loads_is_a_module_with_what_anywidget_calls(entry: str) -> None:
    assert evaluate(module_source(entry), "Object.keys(it)") == ["initialize", "render"]


def test_every_file_is_loaded_by_a_page_and_every_export_is_imported() -> None:
    joined = "\n".join(map(module_source, ENTRIES)).splitlines()
    for name in FILES:
        assert f"const {name.replace('.', '_')} = (() => {{" in joined, f"no page loads {name}"
    texts = {name: (STATIC / name).read_text().splitlines() for name in FILES}
    given = {
        (name, exported)
        for name, lines in texts.items()
        if lines[-1].startswith("export { ")
        for exported in lines[-1].removeprefix("export { ").removesuffix(" };").split(", ")
    }
    taken = set()
    for lines in texts.values():
        for line in lines:
            names, found, name = line.removeprefix("import { ").removesuffix('";').partition(' } from "./')
            if found:
                taken |= {(name, imported) for imported in names.split(", ")}
    assert given == taken


@pytest.mark.parametrize("name", FILES)
def test_files_are_of_a_size_that_can_be_read_and_contributing_names_them(name: str) -> None:
    assert len((STATIC / name).read_text().splitlines()) <= MAX_LINES
    assert f"`{name}`" in (STATIC.parents[2] / "CONTRIBUTING.md").read_text()
