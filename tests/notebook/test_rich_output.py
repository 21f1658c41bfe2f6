"""What ranks display, in a real kernel: figures, frames, HTML, updates, clearing, and progress bars."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.kernel import Execution, Kernel, Reply, without_escapes

pytestmark = pytest.mark.kernel

START_METHODS = ("zygote", "forkserver", "spawn", "fork")


def page(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the data of what a frontend shows in the end, in order."""
    shown: dict[str, dict[str, Any]] = {}
    for output in outputs:
        name = output["transient"]["display_id"]
        assert (name in shown) == (output["msg_type"] == "update_display_data")
        shown[name] = output["data"]
    return list(shown.values())


def words(reply: Reply | Execution) -> list[str]:
    """Return labels and contents as words, an image as its type."""
    texts = []
    for data in page(reply.outputs):
        image = next((mime for mime in data if mime.startswith("image/")), "")
        if data.get("text/html", "").startswith(("<div style=", '<div class="nblaunch-image')):
            texts.append(data["text/plain"])
        else:
            texts.append(image or data.get("text/html") or data.get("text/markdown") or data.get("text/plain", ""))
    return texts


def test_html_from_one_rank(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1\nfrom IPython.display import HTML\nprint('before')\ndisplay(HTML('<b>x</b>'))"
    ).ok()
    assert words(reply) == ["rank 0:", "<b>x</b>"]
    # what is displayed is not printed too
    assert reply.stdout == "[0] before\n"


def test_alike_outputs_of_four_ranks_are_there_once(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 4 --out run\n"
        "from IPython.display import HTML, Markdown\n"
        "display(HTML('<b>same</b>'))\n"
        "if rank == 3:\n    display(Markdown('*own*'))"
    ).ok()
    assert words(reply) == ["ranks 0-3:", "<b>same</b>", "rank 3:", "*own*"]
    assert kernel.value("[[list(output.data) for output in shown] for shown in run.outputs.values()]") == [
        *[[["text/plain", "text/html"]]] * 3,
        [["text/plain", "text/html"], ["text/plain", "text/markdown"]],
    ]


def test_outputs_of_a_run_show_themselves(kernel: Kernel) -> None:
    kernel.run("%%multiproc 3 --out run\nfrom IPython.display import HTML\ndisplay(HTML(f'<b>{rank}</b>'))").ok()
    (result,) = kernel.run("run.outputs[2][0]").ok().outputs
    assert (result["msg_type"], result["data"]["text/html"]) == ("execute_result", "<b>2</b>")
    (result,) = kernel.run("run.outputs").ok().outputs
    assert result["data"]["text/plain"] == (
        "{0: [<Output: text/plain, text/html>],\n 1: [<Output: text/plain, text/html>],\n"
        " 2: [<Output: text/plain, text/html>]}"
    )


def test_the_order_of_a_rank_is_kept(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 2 --out run\nfrom IPython.display import HTML\n"
        "for i in range(5):\n    display(HTML(f'{rank} {i}'))"
    ).ok()
    for rank in (0, 1):
        expected = [f"{rank} {i}" for i in range(5)]
        assert [text for text in words(reply) if text.startswith(f"{rank} ")] == expected
        assert kernel.value(f"[output.data['text/html'] for output in run.outputs[{rank}]]") == expected


def test_text_stays_text_and_in_order(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 1\nprint('a')\ndisplay('b')\ndisplay(3, [4])\nprint('c')").ok()
    assert (reply.stdout, reply.outputs) == ("[0] a\n[0] 'b'\n[0] 3\n[0] [4]\n[0] c\n", [])


def test_frames_images_latex_json_and_bundles(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1 --out run\n"
        "import numpy as np, pandas as pd\n"
        "from IPython.display import JSON, SVG, Image, Latex\n"
        "display(pd.DataFrame({'column': [1, 2]}))\n"
        "display(Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + b'0' * 30, format='png', width=30))\n"
        "display(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'))\n"
        "display(Latex('$x$'))\n"
        "display(JSON({'a': [1, {'b': None}]}))\n"
        "class Plot:\n"
        "    def _repr_mimebundle_(self, include=None, exclude=None):\n"
        "        return {'application/vnd.plotly.v1+json': {'data': [{'y': np.arange(3)}]}, 'text/plain': 'plot'}\n"
        "display(Plot());"
    ).ok()
    frame, image, svg, latex, json, plot = page(reply.outputs)[1::2]
    assert "<th>column</th>" in frame["text/html"]
    assert image["image/png"].startswith("iVBORw0KGgo")
    assert reply.outputs[3]["metadata"] == {"image/png": {"width": 30}}
    assert svg["image/svg+xml"].startswith("<svg")
    assert latex["text/latex"] == "$x$"
    assert json["application/json"] == {"a": [1, {"b": None}]}
    assert plot == {"application/vnd.plotly.v1+json": {"data": [{"y": [0, 1, 2]}]}, "text/plain": "plot"}


def test_updates_are_live_and_each_rank_has_its_own(kernel: Kernel) -> None:
    cell = kernel.begin(
        "%%multiproc 2 --out run\n"
        "import os, time\n"
        "handle = display('begun', display_id='the same in both')\n"
        "while not os.path.exists('go'):\n    time.sleep(0.005)\n"
        "handle.update(f'done {rank}')\n"
    )
    kernel.pump(lambda: sorted(words(cell)) == ["'begun'", "'begun'", "rank 0:", "rank 1:"], "both outputs")
    assert cell.reply is None
    (kernel.place / "work" / "go").touch()
    reply = cell.finish().ok()
    (kernel.place / "work" / "go").unlink()
    found = words(reply)
    assert {found[0]: found[1], found[2]: found[3]} == {"rank 0:": "'done 0'", "rank 1:": "'done 1'"}
    assert kernel.value("[[output.data for output in shown] for shown in run.outputs.values()]") == [
        [{"text/plain": "'done 0'"}],
        [{"text/plain": "'done 1'"}],
    ]


def test_clear_output(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 2 --out run\n"
        "from IPython.display import HTML, clear_output\n"
        "for i in range(10):\n"
        "    clear_output(wait=True)\n"
        "    display(HTML(f'{rank} {i}'))\n"
        "if rank == 1:\n    clear_output()"
    ).ok()
    assert [text for text in words(reply) if text] == ["rank 0:", "0 9"]
    assert kernel.value("[len(shown) for shown in run.outputs.values()]") == [1, 0]
    # not even escapes
    assert reply.stdout == ""


@pytest.mark.parametrize("method", START_METHODS)
def test_figures_are_shown_as_in_a_notebook(kernel: Kernel, method: str) -> None:
    reply = kernel.run(
        f"%%multiproc 2 --start-method {method}\n"
        "import matplotlib.pyplot as plt\n"
        "plt.plot([1, 2 + rank]); plt.show()\n"
        "print('shown')\n"
        "plt.plot([3]);"
    ).ok()
    found = words(reply)
    assert sorted(found[::2]) == ["rank 0:", "rank 1:", "ranks 0-1:"]
    assert found[1::2] == ["image/png"] * 3
    assert reply.stdout.count("Figure(") == reply.stdout.count("<Figure") == 0
    assert sorted(reply.stdout.splitlines()) == ["[0] shown", "[1] shown"]


@pytest.mark.parametrize("method", START_METHODS)
def test_figures_when_the_notebook_has_drawn_already_and_chosen_a_format(kernel: Kernel, method: str) -> None:
    """The inline backend is imported ahead then, or copied from the kernel, and belongs to another shell."""
    kernel.run("import matplotlib.pyplot as plt\nplt.plot([1])\nplt.close()").ok()
    kernel.run("%config InlineBackend.figure_formats = ['svg']").ok()
    try:
        for _ in range(2):  # ranks that were forked ahead in the second run
            reply = kernel.run(f"%%multiproc 1 --start-method {method}\nplt.plot([1]); plt.show()\nplt.plot([2]);").ok()
            assert words(reply) == ["rank 0:", "image/svg+xml"] * 2
    finally:
        kernel.run("%config InlineBackend.figure_formats = ['png']").ok()


def test_formats_chosen_in_the_rank(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1\n%matplotlib inline\n%config InlineBackend.figure_formats = ['svg', 'png']\n"
        "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\naxes.plot([1])\nplt.close()\ndisplay(figure)"
    ).ok()
    (figure,) = page(reply.outputs)[1::2]
    assert {"image/png", "image/svg+xml"} <= figure.keys()


def test_figures_of_a_function(kernel: Kernel) -> None:
    kernel.run("import nblaunch\ndef draw():\n    import matplotlib.pyplot as plt\n    plt.plot([1])\n").ok()
    reply = kernel.run("run = nblaunch.launch(draw, 1)").ok()
    assert words(reply) == ["rank 0:", "image/png"]
    assert kernel.value("list(run.outputs[0][0].data)") == ["text/plain", "image/png"]


def test_show_ranks(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 4 --show-ranks 0,2-3 --out run\n"
        "from IPython.display import HTML\ndisplay(HTML(str(rank % 2)))\nprint('text', rank)"
    ).ok()
    assert sorted(words(reply)) == ["0", "1", "rank 3:", "ranks 0, 2:"]
    assert sorted(reply.stdout.splitlines()) == [f"[{rank}] text {rank}" for rank in range(4)]
    assert kernel.value("[len(shown) for shown in run.outputs.values()]") == [1] * 4


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        ("0,4-5", "--show-ranks names ranks 4-5, but this run has ranks 0-3. Nothing was started."),
        (
            "two",
            "--show-ranks: it takes numbers of ranks and ranges of them, as in 0,2-3, not 'two'. Nothing was started.",
        ),
        (
            "3-1",
            "--show-ranks: it takes numbers of ranks and ranges of them, as in 0,2-3, not '3-1'. Nothing was started.",
        ),
        ("1,", "not '1,'. Nothing was started."),
    ],
)
def test_ranks_that_there_are_not(kernel: Kernel, ranks: str, message: str) -> None:
    reply = kernel.run(f"%%multiproc 4 --show-ranks {ranks}\n1")
    assert reply.ename == "UsageError"
    assert message in reply.evalue + reply.stderr


def test_a_quiet_run_displays_nothing_and_keeps_all(kernel: Kernel) -> None:
    reply = kernel.run(
        "import nblaunch\nsource = 'from IPython.display import HTML; display(HTML(\"x\"))'\n"
        "run = nblaunch.launch(source, 1, quiet=True)"
    ).ok()
    assert reply.outputs == []
    assert kernel.value("len(run.outputs[0])") == 1


def test_a_failing_cell_keeps_what_it_has_displayed(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 2 --out run\nfrom IPython.display import HTML\ndisplay(HTML(f'{rank}'))\n"
        "import matplotlib.pyplot as plt\nplt.plot([1])\n1 / 0"
    )
    assert reply.ename == "RanksFailed"
    assert sorted(words(reply)) == ["0", "1", "image/png", "rank 0:", "rank 1:", "ranks 0-1:"]
    assert kernel.value("[len(shown) for shown in run.outputs.values()]") == [2, 2]


def test_a_rank_that_is_killed_keeps_what_it_has_displayed(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1 --no-raise --out run\nimport os\nfrom IPython.display import HTML\n"
        "display(HTML('small')); display(HTML('x' * 1_000_000))\nos.kill(os.getpid(), 9)"
    ).ok()
    assert [len(text) for text in words(reply)] == [7, 5, 7, 1_000_000]
    assert kernel.value("[len(output.data['text/html']) for output in run.outputs[0]]") == [5, 1_000_000]


def test_an_interrupted_cell_keeps_what_it_has_displayed(kernel: Kernel) -> None:
    cell = kernel.begin(
        "%%multiproc 2 --out run\nimport time\nfrom IPython.display import HTML\n"
        "display(HTML('begun'))\nwhile True:\n    display(HTML('on'), display_id='x', clear=True)"
    )
    kernel.pump(lambda: "on" in words(cell), "an output of each rank")
    kernel.interrupt()
    reply = cell.finish()
    assert reply.ename == "KeyboardInterrupt"
    # the failures are interrupts, and not what half a message would be
    assert kernel.value("[type(failure.exception).__name__ for failure in run.failures.values()]") == [
        "KeyboardInterrupt",
        "KeyboardInterrupt",
    ]


def test_a_large_image_is_in_the_run_and_a_line_says_so(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1 --out run\nimport os\nfrom IPython.display import HTML, Image\n"
        "display(Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + os.urandom(30_000_000), format='png'))\ndisplay(HTML('small'))"
    ).ok()
    rest, label, small = words(reply)
    assert (label, small) == ("rank 0:", "small")
    assert rest.startswith("… 1 more output of rank 0 is not shown")
    assert kernel.value("len(run.outputs[0][0].data['image/png'])") == 40_000_012


def test_what_cannot_be_formatted_is_as_in_ipython(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1\nclass Bad:\n    def _repr_html_(self):\n        raise ValueError('no html')\n"
        "    def __repr__(self):\n        return 'still text'\ndisplay(Bad())\n'went on'"
    ).ok()
    assert "ValueError: no html" in without_escapes(reply.stderr)
    assert reply.stdout == "[0] still text\n"
    assert kernel.value("results") == {0: "went on"}


def test_what_json_does_not_have_is_an_error_of_the_cell(kernel: Kernel) -> None:
    reply = kernel.run("%%multiproc 1\ndisplay({'application/json': object()}, raw=True)")
    assert "TypeError: an output holds a object, which JSON does not have: <object object at 0x" in reply.evalue


def test_threads_and_children_of_a_rank_may_display(kernel: Kernel) -> None:
    reply = kernel.run(
        "%%multiproc 1 --out run\nimport multiprocessing, os, threading\nfrom IPython.display import HTML\n"
        "thread = threading.Thread(target=lambda: display(HTML('thread')))\nthread.start()\nthread.join()\n"
        "def child():\n    display(HTML('child'))\n    from IPython.display import clear_output; clear_output()\n"
        "process = multiprocessing.get_context('fork').Process(target=child)\nprocess.start()\nprocess.join()\n"
        "display(HTML('rank'))\nprocess.exitcode"
    ).ok()
    assert kernel.value("(run.results, [output.data['text/html'] for output in run.outputs[0]])") == (
        {0: 0},
        ["thread", "rank"],
    )
    assert "<IPython.core.display.HTML object>" in reply.stdout


def test_a_widget_is_text(kernel: Kernel) -> None:
    for method in ("zygote", "fork"):
        reply = kernel.run(
            f"%%multiproc 1 --start-method {method}\nimport ipywidgets\ndisplay(ipywidgets.IntSlider(value=7))"
        ).ok()
        assert reply.outputs == []
        assert reply.stdout.startswith("[0] IntSlider(value=7)\n[0] (A widget of a rank is shown as text: ")


def test_garbage_is_ignored(kernel: Kernel) -> None:
    kernel.run(
        "%%multiproc 1 --out run\nfrom IPython.display import HTML\n"
        "channel = get_ipython().display_pub._channel\n"
        "channel.send('display', b'garbage'); channel.send('display', b'')\ndisplay(HTML('good'))\n'value'"
    ).ok()
    assert kernel.value("(run.results, len(run.outputs[0]))") == ({0: "value"}, 1)


def test_outputs_of_a_background_run_stay_with_their_cell(kernel: Kernel) -> None:
    first = kernel.begin(
        "import nblaunch\n"
        "source = '''import os, time\nfrom IPython.display import HTML\ndisplay(HTML(\"begun\"))\n"
        'while not os.path.exists("go"):\n    time.sleep(0.005)\n'
        "display(HTML(\"late\"))'''\n"
        "run = nblaunch.launch(source, 1, wait=False)"
    )
    first.finish().ok()
    kernel.pump(lambda: words(first) == ["rank 0:", "begun"], "the first output")
    second = kernel.begin("open('go', 'w').close()\nassert run.wait(30)")
    assert second.finish().ok().outputs == []
    kernel.pump(lambda: words(first) == ["rank 0:", "begun", "rank 0:", "late"], "the second output")
    (kernel.place / "work" / "go").unlink()


def test_captured_output_is_captured(kernel: Kernel) -> None:
    reply = kernel.run("%%capture found\n%%multiproc 2\nfrom IPython.display import HTML\ndisplay(HTML('x'))").ok()
    assert reply.outputs == []
    assert kernel.value("'x' in [output.data.get('text/html') for output in found.outputs]")


_BARS = {
    "tqdm": "from tqdm import tqdm as bar",
    "auto": "from tqdm.auto import tqdm as bar",
    "notebook": "from tqdm.notebook import tqdm as bar",
}


@pytest.mark.parametrize("source", _BARS.values(), ids=_BARS)
@pytest.mark.parametrize("method", ["zygote", "spawn", "fork"])
def test_progress_bars_are_text(kernel: Kernel, source: str, method: str) -> None:
    """In the rank, and where the notebook has taken it from `tqdm.auto`, which draws widgets there."""
    kernel.run("from tqdm.auto import tqdm as of_the_notebook").ok()
    reply = kernel.run(
        f"%%multiproc 1 --start-method {method} --out run\n{source}\n"
        "for i in bar(range(3), desc='outer'):\n"
        "    for j in of_the_notebook(range(50), desc='inner', leave=False):\n        pass"
    ).ok()
    assert reply.outputs == []
    written = kernel.value("open(run.logs[0].path + '/stderr.log', newline='').read()")
    assert re.search(r"\router: 100%\|█+\| 3/3 ", written)
    # in place: up again after every step down to the inner bar, and no other lines
    assert written.count("\n") == written.count("\x1b[A") + 1
    assert kernel.value("run.logs[0].stdout") == ""
