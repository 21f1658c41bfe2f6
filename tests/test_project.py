"""The project's own papers: metadata, Makefile, what the README promises, the notebooks as committed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import nblaunch
from nblaunch.launching.option_table import OPTIONS, Kind
from nblaunch.wording import in_bytes

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAPERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]


def requirements(extra: str | None = None) -> dict[str, Requirement]:
    """Return the package's requirements by name: those of an extra, or without one those it always has."""
    parsed = [Requirement(line) for line in requires("nblaunch") or []]
    if extra is None:
        return {each.name: each for each in parsed if each.marker is None}
    return {each.name: each for each in parsed if each.marker and each.marker.evaluate({"extra": extra})}


def lowest_versions() -> dict[str, str]:
    """Return the lowest version that is allowed of each dependency of the package and of its tests."""
    return {
        name: next(one.version for one in requirement.specifier if one.operator == ">=")
        for name, requirement in {**requirements(), **requirements("test")}.items()
    }


def make(*arguments: str) -> str:
    # a `make` that runs these tests would have this one say which folder it is in
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    command = ["make", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def make_targets() -> set[str]:
    return set(re.findall(r"^  ([a-z-]+) ", make("help"), re.MULTILINE))


def test_version_comes_from_one_place() -> None:
    assert version("nblaunch") == nblaunch.__version__
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert nblaunch.__version__ not in re.findall(r'^version = "(.*)"', pyproject, re.MULTILINE)
    assert 'dynamic = ["version"]' in pyproject


def test_types_that_a_signature_names_can_be_imported() -> None:
    for name in nblaunch.__all__:
        assert getattr(nblaunch, name) is not None
    assert {"Attempt", "CaptureError", "Engine", "Notebook", "Output", "Stacks"} <= set(nblaunch.__all__)
    with pytest.raises(AttributeError, match="module 'nblaunch' has no attribute 'nothing'"):
        nblaunch.nothing  # noqa: B018


def test_package_needs_only_what_it_says() -> None:
    needed = requirements()
    assert set(needed) == {
        "anywidget",
        "cloudpickle",
        "ipykernel",
        "ipython",
        "ipywidgets",
        "psutil",
        "threadpoolctl",
        "traitlets",
    }
    assert not needed["ipykernel"].specifier.contains("7.0.1")
    assert needed["ipykernel"].specifier.contains("7.4.0")
    assert needed["ipykernel"].specifier.contains("6.31.0")


def test_google_colab_has_what_the_package_needs() -> None:
    """Replacing IPython breaks its runtime: an installation there must find everything as it wants it."""
    lines = (ROOT / "tests" / "colab.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    needed = requirements()
    assert set(needed) <= set(pins)
    for name, requirement in needed.items():
        assert requirement.specifier.contains(pins[name]), f"{requirement}, but Google Colab has {pins[name]}"


@pytest.mark.parametrize("name", ["torch", "test", "dev", "demo", "docs", "bench"])
def test_extra_exists(name: str) -> None:
    assert requirements(name)


def test_demo_fetches_no_torch() -> None:
    assert "torch" not in requirements("demo")
    assert "torch" in requirements("torch")


def test_constraints_pin_the_reference_torch() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["torch==2.13.0"]


def test_makefile_says_what_it_can_make() -> None:
    documented = {
        *(
            "help",
            "demo",
            "lab",
            "demo-ddp",
            "test",
            "oldest",
            "frameworks",
            "colab",
            "pythons",
            "chaos",
            "differential",
        ),
        *("bench", "bench-panel", "bench-against", "map", "lint", "format", "release", "try-release", "clean"),
    }
    assert make_targets() == documented
    assert make() == make("help")


@pytest.mark.parametrize(
    "target",
    [
        "demo",
        "lab",
        "demo-ddp",
        "test",
        "frameworks",
        "colab",
        "chaos",
        "differential",
        "bench",
        "lint",
        "format",
        "clean",
    ],
)
def test_every_target_can_be_made_on_a_fresh_machine(target: str, tmp_path: Path) -> None:
    """With no environment yet, each target finds its way to one (only said here, not done)."""
    said = make("--dry-run", target, f"VENV={tmp_path / 'venv'}")
    assert ("-m venv" in said) == (target != "clean")


def test_pythons_that_are_not_here_are_said_to_be_skipped(tmp_path: Path) -> None:
    said = make("pythons", "PYTHONS=3.1 3.2", f"VENV={tmp_path / 'venv'}")
    assert said.splitlines() == [f"Python 3.{minor}: skipped, there is none here" for minor in (1, 2)]


def test_the_oldest_dependencies_are_those_that_are_declared(tmp_path: Path) -> None:
    """The Makefile reads them from the same place as pip does (nothing is installed where there is no such Python)."""
    said = make("--dry-run", f"{tmp_path / 'venv'}-oldest/.test", f"VENV={tmp_path / 'venv'}")
    (command,) = re.findall(r"(sed -n '/\^dependencies.*?) >\S+oldest\.txt", said.replace("\\\n", " "), re.DOTALL)
    read = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert dict(line.split("==") for line in read.splitlines()) == lowest_versions()


@pytest.mark.skipif(not Path(sys.prefix, "oldest.txt").exists(), reason="this is not the environment of `make oldest`")
def test_the_oldest_dependencies_are_installed_where_they_are_tried() -> None:
    assert {name: Version(version(name)) for name in lowest_versions()} == {
        name: Version(lowest) for name, lowest in lowest_versions().items()
    }


def test_declared_pythons_are_those_that_are_tried() -> None:
    declared = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"^PYTHONS \?= (.*)$", makefile, re.MULTILINE) == [" ".join(declared)]
    assert re.findall(r"^OLDEST \?= (.*)$", makefile, re.MULTILINE) == declared[:1]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "python: [" + ", ".join(f'"{version}"' for version in declared) + "]" in workflow


def test_ci_runs_tests_and_linters() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o111, ".ci/run is not executable"
    commands = run.read_text(encoding="utf-8").splitlines()
    assert "set -euo pipefail" in commands
    assert {"make test", "make lint"} <= set(commands)
    # what the tests run beside them
    assert "oldest colab try-release frameworks" in (ROOT / "Makefile").read_text(encoding="utf-8")


def _refused_release(*arguments: str) -> str:
    done = subprocess.run([ROOT / ".ci" / "release", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("version", [(), ("",), ("1.2",), ("v1.2.3",), ("1.2.3.dev0",)], ids=str)
def test_a_release_needs_a_version(version: tuple[str, ...]) -> None:
    assert _refused_release(*version) == "say which version: make release VERSION=0.2.0 (or 0.2.0rc1)\n"


def test_a_release_has_only_what_is_committed(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "release", tmp_path / ".ci")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    done = subprocess.run(
        [tmp_path / ".ci" / "release", "1.2.3"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("a release has what is committed, and there is more here")


def test_a_release_that_fails_leaves_the_tree_as_it_was(tmp_path: Path) -> None:
    """Here it fails because there is no towncrier on the path."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "release", tmp_path / ".ci")
    (tmp_path / "nblaunch").mkdir()
    module = tmp_path / "nblaunch" / "__init__.py"
    module.write_text('__version__ = "1.0.0"\n', encoding="utf-8")
    by = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    for command in (["init", "--quiet"], ["add", "--all"], [*by, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    done = subprocess.run(
        [tmp_path / ".ci" / "release", "1.2.3"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode not in (0, 2)
    assert "nothing was released, and the tree is as it was before" in done.stderr
    assert module.read_text(encoding="utf-8") == '__version__ = "1.0.0"\n'
    assert subprocess.run(["git", "tag"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout == ""


def test_fragments_of_the_changelog_are_entries_of_a_kind_that_there_is() -> None:
    """The linters have towncrier read them too."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    kinds = re.findall(r'^    \{ directory = "(\w+)", name = ', pyproject, re.MULTILINE)
    readme = (ROOT / "changelog.d" / "README.md").read_text(encoding="utf-8")
    assert [f"`{kind}`" for kind in kinds] == re.findall(r"`\w+`", readme.partition("Kinds are")[2].partition(".")[0])
    for path in (ROOT / "changelog.d").iterdir():
        if path.name != "README.md":
            assert re.fullmatch(rf"(\+[a-z0-9-]+|\d+)\.({'|'.join(kinds)})(\.\d+)?\.md", path.name)
            text = path.read_text(encoding="utf-8")
            assert re.fullmatch(r"[^\n#*-].*[.:`]\n", text, re.DOTALL), f"{path.name} is no entry of whole sentences"
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert changelog.count("<!-- towncrier release notes start -->") == 1


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_papers_name_only_what_exists(paper: Path) -> None:
    text = re.sub(r"<!--.*?-->", "", paper.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"(?:`|\$ )make ([a-z-]+)", text):
        assert target in make_targets(), f"{paper.name} names 'make {target}'"
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    files = re.findall(r"`((?:notebooks|tests|nblaunch|docs|binder|benchmarks)/[\w./-]+)`", text)
    for name in [*links, *files]:
        assert (ROOT / name).exists(), f"{paper.name} names {name}"


def test_contributing_names_every_package_and_module() -> None:
    """The page and the tree: a file that is in one only would make the page a lie."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+(?:\.py|/)?)`", text))
    package = ROOT / "nblaunch"
    packages = {f"{path.parent.name}/" for path in package.rglob("*/__init__.py")}
    assert packages <= named
    # each of the others is a list of cases, whose names say enough
    inside = [path for name in package.iterdir() if name.name not in LISTS for path in [name, *name.rglob("*.py")]]
    modules = {path.name for path in inside if path.suffix == ".py"} - {"__init__.py"}
    # what torch elastic has under these names is told together
    torch = {
        path.name for name in ("errors", "subprocess_handler") for path in (package / "processes" / name).iterdir()
    }
    assert modules - torch <= named
    names = {path.name for path in package.rglob("*.py")}
    assert {name for name in named if name.endswith(".py") and "/" not in name} <= names


LISTS = ("capture", "payload", "settings")


def test_readme_shows_every_option() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(--[a-z-]+)[^`]*` \| (.*) \|$", readme, re.MULTILINE))
    on_line = [option for option in OPTIONS if option.line.startswith("-")]
    assert set(rows) == {flag for option in on_line for flag in (option.line, option.off_line) if flag}
    sentences = re.sub(r"^\|.*", "", readme, flags=re.MULTILINE)
    assert [option.opposite for option in on_line if option.opposite and f"`{option.opposite}`" not in sentences] == []
    for option in on_line:
        (told,) = re.findall(r"\(default:? ([\d.]+[\dGe]*)", rows[option.line]) or [None]
        if told is not None:
            is_size = option.kind in (Kind.SIZE, Kind.BYTES)
            assert (in_bytes(told) if is_size else float(told)) == option.default, option.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_committed_clean(path: Path) -> None:
    notebook: Any = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert cell.id
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|work|Users|mnt|opt)/", text), "a path of somebody's machine"
    assert "%load_ext nblaunch" in text


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["ddp.ipynb", "quickstart.ipynb"]


def test_binder_opens_the_quick_start() -> None:
    assert (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").split() == [".[demo]"]
    post_build = ROOT / "binder" / "postBuild"
    assert post_build.stat().st_mode & 0o111, "binder/postBuild is not executable"
    (notebook,) = set(re.findall(r"/lab/tree/([\w/.]+)", post_build.read_text(encoding="utf-8")))
    assert (ROOT / notebook).is_file()
