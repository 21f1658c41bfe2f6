"""The panel on each ipykernel that is supported: how a page's messages reach it, and what that relies on.

::

    page ─┬─ control channel ─────────► control_handlers ─┐
          └─ shell channel, subshell ─► comm ─────────────┴─► LivePanel, while the main shell is blocked by the cell
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.kernel import Execution, Kernel

pytestmark = [pytest.mark.kernel]

BESIDE = Path(sys.prefix) / "ipykernels"
CELL = """%%multiproc 2 --grace 60
try:
    print("begun")
    threading.Event().wait(9999)
finally:
    print("tidied up")"""


@dataclass
class Watched(Execution):
    """A cell of which the messages of widgets are kept too."""

    opened: list[dict[str, Any]] = field(default_factory=list)
    told: list[tuple[dict[str, Any], list[bytes]]] = field(default_factory=list)

    def take(self, message: dict[str, Any]) -> None:
        if message["msg_type"] == "comm_open":
            self.opened.append(message["content"])
        elif message["msg_type"] == "comm_msg" and message["content"]["data"]["method"] == "custom":
            self.told.append((message["content"]["data"]["content"], [bytes(part) for part in message["buffers"]]))
        super().take(message)

    @property
    def comm(self) -> str:
        """Name of the panel's comm."""
        return str(self._panel["comm_id"])

    @property
    def token(self) -> str:
        """Name of the panel on the control channel."""
        return str(self._panel["data"]["state"]["token"])

    @property
    def _panel(self) -> dict[str, Any]:
        (found,) = [each for each in self.opened if "token" in each["data"]["state"]]
        return found

    def texts(self) -> dict[str, bytes]:
        """Return what pages know of each log, put together as they do."""
        texts: dict[str, bytes] = {}
        for told, buffers in self.told:
            for chunk, data in zip(told.get("chunks", ()), buffers, strict=False):
                texts[chunk["log"]] = texts.get(chunk["log"], b"")[: chunk["offset"]] + data
        return texts

    def answer(self, number: int) -> tuple[dict[str, Any], list[bytes]]:
        """Wait for the text that a page has asked for."""

        def answers() -> list[tuple[dict[str, Any], list[bytes]]]:
            return [
                (told, buffers) for told, buffers in self.told if (told["kind"], told.get("id")) == ("page", number)
            ]

        self.kernel.pump(lambda: bool(answers()), f"answer {number}")
        return answers()[0]


class PanelKernel(Kernel):
    """A kernel of an ipykernel beside the environment's own, which shows panels; it is spoken to as a page does."""

    def __init__(self, beside: Path | None) -> None:
        self._beside = beside
        super().__init__(panel="live")
        self._control = self._connect(zmq.DEALER, "control")
        self._said = 0

    def _environment(self) -> dict[str, str]:
        environment = super()._environment()
        paths = [str(self._beside) if self._beside else "", environment.get("PYTHONPATH", "")]
        return environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def _expect(self, request: str) -> Execution:
        self._executions[request] = Watched(self, request)
        return self._executions[request]

    def begin_run(self, code: str = CELL) -> Watched:
        """Begin a cell; wait until its widget is shown and, by what a page is sent, until its ranks have begun."""
        running = self.begin(code)
        assert isinstance(running, Watched)
        self.pump(lambda: bool(running.outputs), "the widget")
        assert "application/vnd.jupyter.widget-view+json" in running.outputs[0]["data"]
        page = {"widget": running.token, "client": "page"}
        self.request({**page, "kind": "hello"})
        self.request({**page, "kind": "watch", "logs": ["0", "1"]})
        self.pump(lambda: running.texts() == {"0": b"begun\n", "1": b"begun\n"}, "what the ranks write")
        return running

    def request(self, content: dict[str, Any]) -> None:
        """Send what pages send on the control channel."""
        self._session.send(self._control, "nblaunch_request", self._numbered(content))

    def _numbered(self, content: dict[str, Any]) -> dict[str, Any]:
        self._said += 1
        return {"n": self._said, **content}

    def ask(self, kind: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request on the control channel that has a reply."""
        sent = self._session.send(self._control, kind, content or {})["header"]["msg_id"]
        while self._control.poll(60_000):
            _, message = self._session.recv(self._control, 0)
            if message["parent_header"].get("msg_id") == sent:
                reply: dict[str, Any] = message["content"]
                return reply
        raise AssertionError(f"no reply to {kind}:\n{self.log}")

    def send_to_widget(self, comm: str, content: dict[str, Any], subshell: str | None) -> None:
        """Send a message of a widget, as a page does: with the subshell that it has made for that, if any."""
        data = {"method": "custom", "content": self._numbered(content)}
        message = self._session.msg("comm_msg", {"comm_id": comm, "data": data})
        message["header"]["subshell_id"] = subshell
        self._session.send(self._shell, message)

    def close(self) -> None:
        self._control.close()
        super().close()


@pytest.fixture(scope="module", params=["own", "6.31", "7.2"])
def version(request: pytest.FixtureRequest) -> str:
    """Name an ipykernel that is here: the environment's own, or one beside it."""
    name: str = request.param
    if name != "own" and not (BESIDE / name).is_dir():
        pytest.skip(f"no ipykernel {name} in {BESIDE}: 'make test' puts it there")
    return name


@pytest.fixture(scope="module")
def notebook(version: str) -> Iterator[PanelKernel]:
    """A kernel that shows panels."""
    with PanelKernel(None if version == "own" else BESIDE / version) as kernel:
        kernel.run("%load_ext nblaunch\nimport threading, ipykernel").ok()
        kernel.run("%%multiproc 2\n0").ok()  # makes what ranks are forked from, which stays
        yield kernel


def stopped(running: Watched) -> None:
    reply = running.finish()
    assert reply.ename == "KeyboardInterrupt"
    assert "2 of 2 ranks interrupted" in reply.evalue
    record = reply.outputs[-1]["data"]["text/plain"]
    assert record.splitlines()[-2:] == ["[0-1] begun", "[0-1] tidied up"]
    # a page has been heard: it stands in the place of the widget
    assert reply.outputs[-1]["msg_type"] == "update_display_data"
    places = {output["transient"]["display_id"] for output in (reply.outputs[0], reply.outputs[-1])}
    assert len(places) == 1


def test_it_is_the_version_that_it_says(notebook: PanelKernel, version: str) -> None:
    here: str = notebook.value("ipykernel.__version__")
    if version == "own":
        import ipykernel

        assert here == ipykernel.__version__
    else:
        assert here.startswith(f"{version}.")


def test_stop_on_the_control_channel_ends_ranks_while_the_cell_blocks(notebook: PanelKernel) -> None:
    running = notebook.begin_run()
    # a page sends it once over each channel; twice is as good as once
    for _ in range(2):
        notebook.request({"widget": running.token, "client": "page", "kind": "stop"})
    stopped(running)
    assert notebook.run("1 + 1").ok().value == "2"


def test_text_that_a_page_asks_for_on_the_control_channel(notebook: PanelKernel) -> None:
    running = notebook.begin_run()
    page = {"widget": running.token, "client": "page"}
    notebook.request({**page, "kind": "page", "id": 1, "log": "1", "from": 2, "to": 5, "exact": True})
    answer, buffers = running.answer(1)
    assert (answer["client"], answer["chunk"]["offset"], buffers) == ("page", 2, [b"gun"])
    notebook.request({**page, "kind": "stop"})
    stopped(running)


def test_a_page_that_buffers_do_not_reach(notebook: PanelKernel) -> None:
    running = notebook.begin_run()
    page = {"widget": running.token, "client": "page", "buffers": False}
    before = len(running.told)
    notebook.request({**page, "kind": "hello"})

    def texts() -> dict[str, bytes]:
        chunks = [chunk for told, _ in running.told[before:] for chunk in told.get("chunks", ())]
        return {chunk["log"]: b64decode(chunk["base64"]) for chunk in chunks if "base64" in chunk}

    notebook.pump(lambda: texts() == {"0": b"begun\n", "1": b"begun\n"}, "the same once more, as text")
    notebook.request({**page, "kind": "stop"})
    stopped(running)
    # from then on none is sent
    first = next(i for i, (told, _) in enumerate(running.told[before:], before) if "base64" in str(told))
    assert [buffers for _, buffers in running.told[first:] if buffers] == []


def test_stop_as_a_message_of_the_widget(notebook: PanelKernel) -> None:
    subshells = "kernel subshells" in notebook.ask("kernel_info_request").get("supported_features", [])
    running = notebook.begin_run()
    if not subshells:
        # it waits for the cell, which nothing but the control channel can end then
        notebook.send_to_widget(running.comm, {"client": "page", "kind": "kill"}, None)
        notebook.request({"widget": running.token, "client": "page", "kind": "stop"})
        stopped(running)
        return
    subshell = notebook.ask("create_subshell_request")["subshell_id"]
    notebook.send_to_widget(running.comm, {"client": "page", "kind": "stop"}, subshell)
    stopped(running)
    assert notebook.ask("delete_subshell_request", {"subshell_id": subshell})["status"] == "ok"


def test_what_makes_no_sense_on_the_control_channel_harms_nothing(notebook: PanelKernel) -> None:
    running = notebook.begin_run()
    for widget in (secrets.token_hex(), [running.token], None):
        notebook.request({"widget": widget, "client": "page", "kind": "stop"})
    for content in ({}, {"widget": running.token}, {"widget": running.token, "client": [], "kind": "page"}):
        notebook.request(content)
    # control messages come in order: those above have been taken when this one has its reply
    assert notebook.ask("kernel_info_request")["status"] == "ok"
    assert running.reply is None
    notebook.request({"widget": running.token, "client": "page", "kind": "stop"})
    stopped(running)


@pytest.mark.parametrize("method", ["zygote", "fork"])
def test_a_widget_that_a_rank_makes_stays_there(notebook: PanelKernel, method: str) -> None:
    notebook.quietly("import ipywidgets")
    running = notebook.begin(
        f"%%multiproc 1 --no-panel --out run --start-method {method}\nipywidgets.IntSlider(value=7).value"
    )
    assert isinstance(running, Watched)
    running.finish().ok()
    # ipykernel says so where a fork tries to send something
    assert notebook.value("(run.results[0], run.logs[0].stdout, run.logs[0].stderr)") == (7, "", "")
    assert running.opened == []


def test_nobody_listens_when_runs_are_over(notebook: PanelKernel) -> None:
    notebook.quietly("import gc, nblaunch.jupyter.comms as frontend; gc.collect()")
    assert notebook.value("list(frontend._LISTENERS)") == []
    notebook.request({"widget": "0" * 32, "client": "page", "kind": "stop"})
    assert notebook.ask("kernel_info_request")["status"] == "ok"


def test_control_handlers_are_a_dict_of_coroutine_functions(notebook: PanelKernel) -> None:
    """`hear_control_channel` adds one: called with stream, identity and message, and awaited."""
    notebook.quietly(
        "import inspect\nhandlers = get_ipython().kernel.control_handlers\n"
        "async_ones = sorted(name for name, each in handlers.items() if inspect.iscoroutinefunction(each))\n"
        "parameters = list(inspect.signature(handlers['shutdown_request']).parameters)"
    )
    assert notebook.value("type(handlers).__name__") == "dict"
    assert {"shutdown_request", "interrupt_request", "nblaunch_request"} <= set(notebook.value("async_ones"))
    assert len(notebook.value("parameters")) == 3


def test_comms_say_which_subshell_hears_them(notebook: PanelKernel) -> None:
    """`answer_on_own_subshell` puts a function of its own over this method, on versions that have it."""
    # before 6.18 there is no such class
    notebook.quietly("import inspect, ipykernel.comm.comm as module\nBaseComm = getattr(module, 'BaseComm', None)")
    version = tuple(map(int, notebook.value("ipykernel.__version__").split(".")[:2]))
    assert notebook.value("hasattr(BaseComm, '_reply_subshell_for')") == (version >= (7, 4))
    if version >= (7, 4):
        assert notebook.value("list(inspect.signature(BaseComm._reply_subshell_for).parameters)") == [
            *("self", "data", "default")
        ]


def test_what_asking_relies_on(notebook: PanelKernel) -> None:
    kernel = "get_ipython().kernel"
    assert notebook.value(f"callable({kernel}._input_request)")
    for allowed in (False, True):
        asking = notebook.begin(f"print({kernel}._allow_stdin)", allow_stdin=allowed)
        assert asking.finish().ok().stdout == f"{allowed}\n"


def test_a_rank_asks_in_the_input_box(notebook: PanelKernel) -> None:
    cell = notebook.begin("%%multiproc 1\nimport getpass\ninput('name? '), getpass.getpass()", allow_stdin=True)
    assert cell.asked() == "rank 0: name? "
    cell.enter("Ada")
    assert cell.asked() == "rank 0: Password: "
    assert cell.questions[0]["content"]["password"] is True
    cell.enter("secret").finish().ok()
    assert notebook.value("results") == {0: ("Ada", "secret")}
    # the kernel's own input box is as it was
    assert notebook.begin("input('and here? ')", allow_stdin=True).enter("yes").finish().ok().value == "'yes'"


def test_a_question_is_left_when_its_rank_goes(notebook: PanelKernel) -> None:
    # the ranks say in their files who they are
    source = "import os, pathlib\npathlib.Path(f'{rank}.pid').write_text(str(os.getpid()))\ninput('name? ')"
    cell = notebook.begin(f"%%multiproc 2 --on-failure continue\n{source}", allow_stdin=True)
    asks = cell.asked().removeprefix("rank ")[0]
    os.kill(int((notebook.place / "work" / f"{asks}.pid").read_text()), signal.SIGKILL)
    notebook.pump(lambda: len(cell.questions) == 2, "the question of the other rank")
    left, current = cell.questions
    assert left["content"]["prompt"] != current["content"]["prompt"]
    # the page still shows the box of the question that nobody waits for
    notebook.reply(left, "stale")
    notebook.reply(current, "fresh")
    assert cell.finish().ename == "RanksFailed"
    assert notebook.value("results") == {1 - int(asks): "fresh"}


def test_stop_while_a_rank_asks(notebook: PanelKernel) -> None:
    cell = notebook.begin("%%multiproc 2 --grace 60\ninput('name? ')", allow_stdin=True)
    assert isinstance(cell, Watched)
    cell.asked()
    notebook.pump(lambda: bool(cell.outputs), "the widget")
    notebook.request({"widget": cell.token, "client": "page", "kind": "stop"})
    assert cell.finish().ename == "KeyboardInterrupt"
    notebook.begin("%%multiproc 1\ninput('next? ')", allow_stdin=True).enter("x").finish().ok()


def test_a_publisher_of_another_class_that_is_made_in_another_way(notebook: PanelKernel) -> None:
    notebook.quietly(
        "class Own(type(get_ipython().display_pub)):\n"
        "    def __init__(self, shell):\n"
        "        raise AssertionError('nobody makes another one')\n"
        "    def publish(self, *args, **options):\n"
        "        return super().publish(*args, **options)\n"
        "before = type(get_ipython().display_pub)\n"
        "get_ipython().display_pub.__class__ = Own"
    )
    try:
        reply = notebook.run("%%multiproc 2\nfrom IPython.display import HTML, display\ndisplay(HTML('<b>x</b>'))").ok()
    finally:
        notebook.quietly("get_ipython().display_pub.__class__ = before")
    assert reply.outputs[0]["data"]["text/plain"].startswith("✓ %%multiproc 2")
    assert any("<b>x</b>" in str(output["data"]) for output in reply.outputs[1:])


def test_lines_go_on_in_a_panel_that_comes_late(notebook: PanelKernel) -> None:
    notebook.quietly("import nblaunch.panel.live as live\nlive._LINES_AFTER, live._kept = 0.1, live._LINES_AFTER")
    try:
        running = notebook.begin(CELL)
        assert isinstance(running, Watched)
        running.wait_for("[0] begun\n", "[1] begun\n")
        notebook.request({"widget": running.token, "client": "page", "kind": "hello"})
        running.wait_for("… goes on in the panel\n")
        notebook.request({"widget": running.token, "client": "page", "kind": "stop"})
        stopped(running)
    finally:
        notebook.quietly("live._LINES_AFTER = live._kept")
    assert "tidied up" not in running.streams["stdout"]
