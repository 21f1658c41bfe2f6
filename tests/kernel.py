"""A real ipykernel for tests: code goes in as a frontend sends it, and all that comes back is sorted by cell.

::

    code ─► execute_request ─► ipykernel ─► reply, stream, error, display … ─► Execution of that very cell

Sockets are Unix sockets in a folder of the kernel's own. Nothing here sleeps: whoever waits, waits for a message.
"""

from __future__ import annotations

import ast
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from jupyter_client.session import Session
from typing_extensions import Self

PATIENCE = 60.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


@dataclass
class Reply:
    """What came of one cell."""

    status: str
    count: int
    stdout: str
    stderr: str
    ename: str
    evalue: str
    traceback: str
    outputs: list[dict[str, Any]]
    pages: str
    sizes: list[int]

    @property
    def value(self) -> str:
        """The text of the cell's own last expression; empty if it had none."""
        for output in self.outputs:
            if output["msg_type"] == "execute_result":
                return str(output["data"]["text/plain"])
        return ""

    def ok(self) -> Reply:
        """Return this reply if the cell succeeded."""
        assert self.status == "ok", f"{self.status}: {self.traceback or self.evalue}\n{self.stderr}"
        return self


@dataclass
class Execution:
    """One cell on its way, and all that has arrived of it."""

    kernel: Kernel
    id: str
    streams: dict[str, str] = field(default_factory=lambda: {"stdout": "", "stderr": ""})
    outputs: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] = field(default_factory=dict)
    reply: dict[str, Any] | None = None
    idle: bool = False
    questions: list[dict[str, Any]] = field(default_factory=list)
    begun: bool = False
    sizes: list[int] = field(default_factory=list)

    def take(self, message: dict[str, Any]) -> None:
        """Take a message whose parent is this cell."""
        kind, content = message["msg_type"], message["content"]
        if kind == "input_request":
            self.questions.append(message)
        if kind == "execute_reply":
            self.reply = content
        elif kind == "execute_input":
            self.begun = True
        elif kind == "status":
            self.idle = self.idle or content["execution_state"] == "idle"
        elif kind == "stream":
            self.streams[content["name"]] += content["text"]
            self.sizes.append(len(content["text"]))
        elif kind == "error":
            self.error = content
        elif kind in ("display_data", "execute_result", "update_display_data"):
            self.outputs.append({"msg_type": kind, **content})

    def wait_for(self, text: str, *more: str, stream: str = "stdout") -> Execution:
        """Wait until the cell has shown these texts; its output may come after its end."""
        self.kernel.pump(lambda: all(part in self.streams[stream] for part in (text, *more)), f"{text!r}, {more}")
        return self

    def asked(self) -> str:
        """Wait for the next question; return its prompt. The cell has to be sent with ``allow_stdin``."""
        self.kernel.pump(lambda: bool(self.questions), "a question")
        return str(self.questions[0]["content"]["prompt"])

    def enter(self, line: str) -> Execution:
        """Answer the question that came first."""
        self.asked()
        self.kernel.reply(self.questions.pop(0), line)
        return self

    def finish(self) -> Reply:
        """Wait for the end of the cell."""
        self.kernel.pump(lambda: self.idle and self.reply is not None, "the end of the cell")
        reply = self.reply
        assert reply is not None
        error = self.error or reply
        pages = [part["data"]["text/plain"] for part in reply.get("payload", []) if part["source"] == "page"]
        return Reply(
            status=reply["status"],
            count=reply.get("execution_count") or 0,
            stdout=self.streams["stdout"],
            stderr=self.streams["stderr"],
            ename=error.get("ename", ""),
            evalue=error.get("evalue", ""),
            traceback=without_escapes("\n".join(error.get("traceback", []))),
            outputs=self.outputs,
            pages=without_escapes("\n".join(pages)),
            sizes=self.sizes,
        )


class Kernel:
    """An ipykernel in a process of its own, leader of a session as Jupyter's are.

    Attributes
    ----------
    place : Path
        Its folder: working directory ``work``, temporary files in ``tmp``.
    """

    def __init__(self, panel: str = "text") -> None:
        self._panel = panel
        self.place = Path(tempfile.mkdtemp(prefix="kernel_"))
        for name in ("work", "tmp", "ipython", "jupyter"):
            (self.place / name).mkdir()
        connection: dict[str, Any] = {f"{name}_port": number for number, name in enumerate(_CHANNELS, 1)}
        connection |= {
            "transport": "ipc",
            "ip": str(self.place / "s"),
            "key": secrets.token_hex(),
            "signature_scheme": "hmac-sha256",
        }
        file = self.place / "connection.json"
        file.write_text(json.dumps(connection))
        file.chmod(0o600)
        self._log = open(self.place / "kernel.log", "wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ipykernel_launcher", "-f", file],
            cwd=self.place / "work",
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._session = Session(key=connection["key"].encode(), signature_scheme="hmac-sha256")
        self._context = zmq.Context()
        self._executions: dict[str, Execution] = {}
        self._shell = self._connect(zmq.DEALER, "shell")
        self._iopub = self._connect(zmq.SUB, "iopub")
        self._iopub.subscribe(b"")
        self._poller = zmq.Poller()
        self._poller.register(self._shell, zmq.POLLIN)
        self._poller.register(self._iopub, zmq.POLLIN)
        self._stdin = self._connect(zmq.DEALER, "stdin", immediate=True)
        self._poller.register(self._stdin, zmq.POLLIN)
        self._greet()

    def _environment(self) -> dict[str, str]:
        # ipykernel captures less of what is written when it finds pytest's variable
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        return environment | {
            # plain lines can be compared
            "NBLAUNCH_PANEL": self._panel,
            "TMPDIR": str(self.place / "tmp"),
            "IPYTHONDIR": str(self.place / "ipython"),
            "JUPYTER_CONFIG_DIR": str(self.place / "jupyter"),
            "JUPYTER_DATA_DIR": str(self.place / "jupyter"),
            "JUPYTER_RUNTIME_DIR": str(self.place / "jupyter"),
        }

    def _connect(self, kind: int, channel: str, *, immediate: bool = False) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.linger = 0
        socket.immediate = immediate
        socket.identity = self._session.bsession
        socket.connect(f"ipc://{self.place / 's'}-{_CHANNELS.index(channel) + 1}")
        return socket

    def _greet(self) -> None:
        # a subscription takes effect some time after it was made: ask until an answer comes by that way too
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            greeting = self._expect(self._session.send(self._shell, "kernel_info_request")["header"]["msg_id"])
            until = time.monotonic() + 1.0
            while not greeting.idle and time.monotonic() < until:
                self._receive(100)
            if greeting.idle and self._stdin_is_connected(until - time.monotonic()):
                return
        raise AssertionError(f"the kernel does not answer:\n{self.log}")

    def _stdin_is_connected(self, timeout: float) -> bool:
        # Nothing is sent there until a rank asks. A socket that connects in the midst of a test would be taken for one
        # that the test has left behind. An immediate socket takes messages only when it is connected.
        return bool(self._stdin.poll(max(0, int(timeout * 1000)) + 100, zmq.POLLOUT))

    @property
    def log(self) -> str:
        """What the kernel itself has written to its terminal."""
        return (self.place / "kernel.log").read_text(errors="replace")

    # ---- cells

    def run(self, code: str, **options: Any) -> Reply:
        """Run a cell to its end."""
        reply = self.begin(code, **options).finish()
        while reply.status == "aborted":
            # ipykernel 6.17 drops what comes within a moment after a cell that failed
            reply = self.begin(code, **options).finish()
        return reply

    def begin(self, code: str, metadata: dict[str, Any] | None = None, **options: Any) -> Execution:
        """Send a cell and return at once; the kernel runs what it is sent one after the other."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            # where panels are shown somebody sits who can be asked
            "allow_stdin": self._panel == "live",
            "stop_on_error": True,
            **options,
        }
        sent = self._session.send(self._shell, "execute_request", content, metadata=metadata)
        return self._expect(sent["header"]["msg_id"])

    def reply(self, question: dict[str, Any], line: str) -> None:
        """Answer a question as a frontend's input box does."""
        self._session.send(self._stdin, "input_reply", {"value": line, "status": "ok"}, parent=question)

    def value(self, expression: str) -> Any:
        """Return the value of an expression that is made of literals; neither a cell of its own nor counted."""
        options: dict[str, Any] = {"silent": True, "store_history": False}
        options["user_expressions"] = {"v": f"repr({expression})"}
        execution = self.begin("", **options)
        while execution.finish().status == "aborted":
            execution = self.begin("", **options)
        assert execution.reply is not None
        answer = execution.reply["user_expressions"]["v"]
        assert answer["status"] == "ok", without_escapes("\n".join(answer["traceback"]))
        return ast.literal_eval(ast.literal_eval(answer["data"]["text/plain"]))

    def quietly(self, code: str) -> None:
        """Run code that is neither shown nor counted."""
        self.run(code, silent=True, store_history=False).ok()

    def interrupt(self) -> None:
        """Interrupt the kernel as Jupyter does."""
        os.killpg(self.process.pid, signal.SIGINT)

    # ---- messages

    def pump(self, done: Callable[[], bool], what: str) -> None:
        """Take messages until `done` is true."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            left = deadline - time.monotonic()
            if left <= 0 or self.process.poll() is not None:
                so_far = [execution.streams for execution in list(self._executions.values())[-2:]]
                raise AssertionError(f"waited in vain for {what}; so far: {so_far}\nkernel: {self.log[-2000:]}")
            self._receive(int(min(left, 1.0) * 1000) + 1)

    def _expect(self, request: str) -> Execution:
        self._executions[request] = Execution(self, request)
        return self._executions[request]

    def _receive(self, milliseconds: int) -> None:
        for socket, _ in self._poller.poll(milliseconds):
            _, message = self._session.recv(socket)
            execution = self._executions.get(message["parent_header"].get("msg_id", ""))
            if execution is not None:
                execution.take(message)

    # ---- the end

    def close(self) -> None:
        """Kill the kernel and remove its folder."""
        self._shell.close()
        self._iopub.close()
        self._stdin.close()
        self._context.term()
        self.process.kill()
        self.process.wait()
        self._log.close()
        shutil.rmtree(self.place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def without_escapes(text: str) -> str:
    """Remove the colours from a text."""
    return _ESCAPES.sub("", text)
