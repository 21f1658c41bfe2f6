"""Which file each stream of each rank goes to."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from nblaunch.processes.elastic.logs_specs import DefaultLogsSpecs, LogsDest, LogsSpecs, _validate_full_rank
from nblaunch.processes.elastic.std import Std


def environments(count: int, **first: str) -> dict[int, dict[str, str]]:
    envs: dict[int, dict[str, str]] = {rank: {} for rank in range(count)}
    envs[0].update(first)
    return envs


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let default directories be made below a directory of the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_directories_of_a_run(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(str(tmp_path / "made" / "here"), redirects=Std.ALL, tee={1: Std.OUT})
    envs = environments(2, TORCHELASTIC_RUN_ID="job", TORCHELASTIC_RESTART_COUNT="3")
    dest = specs.reify(envs)
    (run,) = (tmp_path / "made" / "here").iterdir()
    assert run.name.startswith("job_")
    attempt = run / "attempt_3"
    assert sorted(path.name for path in attempt.iterdir()) == ["0", "1"]
    assert dest == LogsDest(
        stdouts={rank: f"{attempt}/{rank}/stdout.log" for rank in range(2)},
        stderrs={rank: f"{attempt}/{rank}/stderr.log" for rank in range(2)},
        tee_stdouts={1: f"{attempt}/1/stdout.log"},
        tee_stderrs={},
        error_files={rank: f"{attempt}/{rank}/error.json" for rank in range(2)},
        filtered_stdout=f"{attempt}/filtered_stdout.log",
        filtered_stderr=f"{attempt}/filtered_stderr.log",
    )
    assert {rank: env["TORCHELASTIC_ERROR_FILE"] for rank, env in envs.items()} == dest.error_files


def test_without_wishes_everything_goes_to_the_console(tmp_path: Path) -> None:
    dest = DefaultLogsSpecs(str(tmp_path)).reify(environments(2))
    assert dest.stdouts == dest.stderrs == {0: "", 1: ""}
    assert dest.tee_stdouts == dest.tee_stderrs == {}


def test_a_tee_is_a_redirect_too(tmp_path: Path) -> None:
    dest = DefaultLogsSpecs(str(tmp_path), redirects={0: Std.OUT}, tee={0: Std.ERR}).reify(environments(2))
    assert [bool(path) for path in (*dest.stdouts.values(), *dest.stderrs.values())] == [
        True,
        False,
        True,
        False,
    ]
    assert dest.tee_stdouts == {}
    assert dest.tee_stderrs == {0: dest.stderrs[0]}


def test_a_run_keeps_its_directory_and_an_attempt_its_last_logs(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(str(tmp_path), redirects=Std.OUT)
    first = specs.reify(environments(1))
    Path(first.stdouts[0]).write_text("old")
    second = specs.reify(environments(1))
    assert second == first
    assert not Path(first.stdouts[0]).exists()
    third = specs.reify(environments(1, TORCHELASTIC_RESTART_COUNT="1"))
    assert Path(third.stdouts[0]).parts[-3:] == ("attempt_1", "0", "stdout.log")
    assert Path(third.stdouts[0]).parents[2] == Path(first.stdouts[0]).parents[2]


def test_ranks_outside_the_filter_are_not_shown(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(str(tmp_path), redirects={1: Std.OUT}, tee=Std.ERR, local_ranks_filter={0})
    dest = specs.reify(environments(3))
    assert dest.stdouts[0] == ""
    assert dest.stdouts[1].endswith("/1/stdout.log")
    assert dest.stdouts[2] == os.devnull
    assert [Path(path).name for path in dest.stderrs.values()] == ["stderr.log"] * 3
    assert dest.tee_stderrs == {0: dest.stderrs[0]}


def test_an_empty_filter_filters_nothing(tmp_path: Path) -> None:
    dest = DefaultLogsSpecs(str(tmp_path), tee=Std.OUT, local_ranks_filter=set()).reify(environments(2))
    assert dest.tee_stdouts == dest.stdouts


def test_the_null_device_keeps_no_logs() -> None:
    specs = DefaultLogsSpecs(os.devnull, redirects=Std.ALL, tee=Std.ALL)
    envs = environments(2)
    nowhere = {0: os.devnull, 1: os.devnull}
    assert specs.reify(envs) == LogsDest(
        stdouts={0: "", 1: ""},
        stderrs={0: "", 1: ""},
        tee_stdouts=nowhere,
        tee_stderrs=nowhere,
        error_files=nowhere,
        filtered_stdout=os.devnull,
        filtered_stderr=os.devnull,
    )
    assert envs == {0: {"TORCHELASTIC_ERROR_FILE": ""}, 1: {"TORCHELASTIC_ERROR_FILE": ""}}
    assert specs.root_log_dir == os.devnull


@pytest.mark.parametrize("log_dir", [None, ""])
def test_by_default_logs_go_to_a_private_temporary_directory(log_dir: str | None, temporary: Path) -> None:
    specs = DefaultLogsSpecs(log_dir)
    (made,) = temporary.iterdir()
    assert specs.root_log_dir == str(made)
    assert made.name.startswith("nblaunch_")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_run_id_does_not_lead_out_of_the_directory(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(str(tmp_path / "logs"))
    dest = specs.reify(environments(1, TORCHELASTIC_RUN_ID="../elsewhere/job"))
    assert Path(dest.error_files[0]).resolve().is_relative_to(tmp_path / "logs")


def test_a_file_is_no_directory_for_logs(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(NotADirectoryError) as caught:
        DefaultLogsSpecs(str(path))
    assert str(caught.value) == (
        f"log_dir: {path} is a file; give a directory, which is made if it is missing, or /dev/null for no logs"
    )


@pytest.mark.parametrize("name", ["redirects", "tee"])
def test_wrong_streams_are_refused_before_a_directory_is_made(name: str, temporary: Path) -> None:
    wrong: dict[str, Any] = {name: "3"}
    with pytest.raises(TypeError, match=f"^{name} must be a Std .* read text with Std.from_str$"):
        DefaultLogsSpecs(**wrong)
    assert list(temporary.iterdir()) == []


def test_plain_integers_are_taken_as_streams(tmp_path: Path) -> None:
    wishes: dict[str, Any] = {"redirects": 1, "tee": {0: 2}}
    assert DefaultLogsSpecs(str(tmp_path), **wishes) == DefaultLogsSpecs(str(tmp_path), Std.OUT, {0: Std.ERR})


def test_equality_is_by_wishes(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(str(tmp_path), Std.OUT, Std.ERR, {0})
    assert specs == DefaultLogsSpecs(str(tmp_path), Std.OUT, Std.ERR, {0})
    assert specs != DefaultLogsSpecs(str(tmp_path), Std.OUT, Std.ERR, {1})
    assert specs != DefaultLogsSpecs(str(tmp_path), Std.OUT, Std.NONE, {0})
    assert specs != "specs"


def test_repr_names_the_wishes(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(str(tmp_path), Std.OUT, {1: Std.ERR}, {0})
    assert repr(specs) == (
        f"DefaultLogsSpecs(root_log_dir={tmp_path}, redirects={Std.OUT}, tee={ {1: Std.ERR} }, "
        "local_ranks_filter={0})"
    )


def test_no_ranks_at_all_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dest = DefaultLogsSpecs(str(tmp_path)).reify({})
    assert dest.stdouts == {}
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "log files were asked for no ranks at all: envs is empty")
    ]


def test_environments_that_leave_out_a_rank_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^envs, local rank mapping mismatch, .*; missing: 0; superfluous: 1$"):
        DefaultLogsSpecs(str(tmp_path)).reify({1: {}})
    assert list(tmp_path.iterdir()) == []


def test_own_specs_need_only_say_where() -> None:
    class Nowhere(LogsSpecs):
        def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
            return LogsDest()

        @property
        def root_log_dir(self) -> str:
            return ""

    assert Nowhere(tee=Std.OUT).reify({}) == LogsDest({}, {}, {}, {}, {}, "", "")


def test_a_full_mapping_is_valid() -> None:
    _validate_full_rank({1: "b", 0: "a"}, 2, "args")
    _validate_full_rank({}, 0, "args")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({0: ""}, "expected: {0, 1}, actual: {0}; missing: 1"),
        ({}, "expected: {0, 1}, actual: set(); missing: 0, 1"),
        ({0: "", 1: "", 2: ""}, "expected: {0, 1}, actual: {0, 1, 2}; superfluous: 2"),
        ({1: "", 2: ""}, "expected: {0, 1}, actual: {1, 2}; missing: 0; superfluous: 2"),
    ],
)
def test_a_mapping_with_other_ranks_is_refused(mapping: dict[int, str], message: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        _validate_full_rank(mapping, 2, "args")
    assert str(caught.value) == f"args, local rank mapping mismatch, {message}"


@pytest.mark.torch
@pytest.mark.parametrize("ranks", [None, set(), {1}, {0, 2}])
@pytest.mark.parametrize(("redirects", "tee"), [(0, 0), (3, 0), (0, 3), (1, 2), (2, 1)])
def test_the_files_are_those_of_torch(
    redirects: int, tee: int, ranks: set[int] | None, tmp_path: Path, temporary: Path
) -> None:
    torch = pytest.importorskip("torch.distributed.elastic.multiprocessing")
    wishes = ({0: redirects, 2: redirects}, {1: tee, 2: tee})
    variables = {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_RESTART_COUNT": "0"}

    def shape(module: Any, specs_class: Any) -> dict[str, Any]:
        std = [{rank: module.Std(value) for rank, value in wish.items()} for wish in wishes]
        specs = specs_class(str(tmp_path), *std, ranks)
        dest = vars(specs.reify(environments(3, **variables)))
        (run,) = {Path(path).parents[2] for path in dest["error_files"].values()}

        def strip(value: Any) -> Any:
            if isinstance(value, dict):
                return {rank: strip(path) for rank, path in value.items()}
            return value.removeprefix(str(run))

        return {name: strip(value) for name, value in dest.items()}

    import nblaunch.processes as ours

    assert shape(ours, DefaultLogsSpecs) == shape(torch, torch.DefaultLogsSpecs)
