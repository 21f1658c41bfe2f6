"""The live panel by itself, with a kernel that is made up in the page: what would be hard to bring about in Jupyter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.javascript.look import show_harness

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

LOG = ".nbl-log >> nth=0"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open the harness; an error in the page fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(10_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error.stack)))
    show_harness(page)
    yield page
    context.close()
    assert errors == []


def _show(page: Page, **options: Any) -> None:
    page.evaluate("options => { harness.show(options); return harness.settled() }", options)


def _write(page: Page, script: str) -> None:
    """Have the kernel do something, and wait until it is on the screen."""
    page.evaluate(f"() => {{ {script}; kernel.tick(); return harness.settled() }}")


def _sent(page: Page, kind: str) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = page.evaluate("kind => kernel.sent.filter(message => message.kind === kind)", kind)
    return sent


def _until_acknowledged(page: Page) -> None:
    page.wait_for_function("kernel.acked === kernel.seq - 1")


def test_ticks_are_acknowledged_when_painted(page: Page) -> None:
    _show(page)
    _until_acknowledged(page)
    _write(page, "kernel.write(2, 'here it is\\n')")
    _until_acknowledged(page)
    assert "here it is" in page.inner_text("section[aria-label='rank 2']")


def test_stop_then_kill_over_both_channels(page: Page) -> None:
    _show(page)
    page.click(".nbl-stop")
    page.click(".nbl-stop >> text=Kill")
    control = page.evaluate("kernel.control.map(message => message.content)")
    for kind in ("stop", "kill"):
        (message,) = _sent(page, kind)
        token = page.evaluate("kernel.traits.token")
        assert {**message, "widget": token} in control
    _write(page, "kernel.setRun({state: 'over', over: true})")
    assert page.is_disabled(".nbl-stop")


def test_where_every_rank_is(page: Page) -> None:
    _show(page)
    _write(page, "kernel.answers = false")
    assert page.is_hidden(".nbl-stacks")
    # by the keyboard; pressing again while it is asked asks nothing more
    page.focus(".nbl-ask")
    for _ in range(3):
        page.keyboard.press("Enter")
    (message,) = _sent(page, "stacks")
    control = page.evaluate("kernel.control.map(message => message.content)")
    assert {**message, "widget": page.evaluate("kernel.traits.token")} in control
    assert page.get_attribute(".nbl-ask", "aria-busy") == "true"
    # a Stop does not wait for the answer
    page.click(".nbl-stop")
    assert len(_sent(page, "stop")) == 1
    page.focus(".nbl-ask")
    nasty = "rank 0: waiting in <img src=x onerror='window.hacked=1'>, Cell In[2], line 1\\n    <b>frame</b>"
    _write(page, f'kernel.answer({{text: "{nasty}"}})')
    assert page.inner_text(".nbl-stackslines") == nasty.replace("\\n", "\n")
    assert page.locator(".nbl-stacks img, .nbl-stacks b").count() == 0
    assert page.inner_text(".nbl-stackstitle") == "where the ranks were after 23 s"
    assert page.inner_text(".nbl-live") == "where the ranks were after 23 s"
    assert page.get_attribute(".nbl-ask", "aria-busy") is None
    assert page.get_attribute(".nbl-ask", "aria-expanded") == "true"
    # the focus is where one reads, and goes back
    assert page.evaluate("document.activeElement.className") == "nbl-stackslines"
    page.keyboard.press("Escape")
    assert page.is_hidden(".nbl-stacks")
    assert page.evaluate("document.activeElement.className") == "nbl-ask"
    assert page.evaluate("window.hacked") is None


def test_where_every_rank_is_once_more_and_copied(page: Page) -> None:
    _show(page)
    page.click(".nbl-ask")
    page.wait_for_selector(".nbl-stackslines >> text=ranks 0-1, 3: waiting in recv")
    page.click(".nbl-stacks [aria-label='copy this text']")
    page.wait_for_selector(".nbl-where >> text=copied 8 lines")
    page.focus(".nbl-field")
    page.keyboard.press("Control+v")
    assert "rank 2: running in load, Cell In[12], line 6" in page.input_value(".nbl-field")
    page.fill(".nbl-field", "")
    _write(page, "kernel.answers = false; kernel.clock = 25")
    page.click(".nbl-stacks [aria-label='ask once more']")
    _write(page, "kernel.answer({error: 'TimeoutError: the ranks are still being started'})")
    assert page.inner_text(".nbl-stackstitle") == "the ranks could not be asked"
    assert page.inner_text(".nbl-stackslines") == "TimeoutError: the ranks are still being started"
    page.click(".nbl-stacks [aria-label='close (Escape)']")
    assert page.is_hidden(".nbl-stacks")
    # there is nobody any more who could be asked
    _write(page, "kernel.setRun({state: 'over', over: true})")
    assert page.is_hidden(".nbl-ask")


def test_many_stacks_leave_room_for_the_logs(page: Page) -> None:
    _show(page, nprocs=8)
    page.evaluate("kernel.answers = false")
    page.click(".nbl-ask")
    _write(
        page,
        "kernel.answer({text: Array.from({length: 300}, (_, k) => `rank ${k}: ${'deep '.repeat(90)}`).join('\\n')})",
    )
    heights = page.evaluate(
        "['.nbl-panel', '.nbl-stacks', '.nbl-body'].map(name => document.querySelector(name).clientHeight)"
    )
    assert heights[1] <= heights[0] / 2 < heights[1] + heights[2]
    assert page.evaluate(
        "(lines => lines.scrollHeight > lines.clientHeight)(document.querySelector('.nbl-stackslines'))"
    )


def test_whoever_scrolls_up_stays_there(page: Page) -> None:
    _show(page, nprocs=1, seconds=0)
    _write(page, "for (let k = 0; k < 500; k++) kernel.write(0, `line ${k}\\n`)")
    assert "line 499" in page.inner_text(LOG)
    page.hover(LOG)
    page.mouse.wheel(0, -2000)
    page.wait_for_selector(".nbl-pill:visible")
    before = page.inner_text(LOG)
    assert "line 499" not in before
    _write(page, "for (let k = 500; k < 620; k++) kernel.write(0, `line ${k}\\n`)")
    _until_acknowledged(page)
    assert page.inner_text(LOG) == before
    page.click(".nbl-pill >> text=120 new lines")
    page.wait_for_selector(f"{LOG} >> text=line 619")
    assert page.is_hidden(".nbl-pill")


def test_only_rows_in_sight_are_in_the_document(page: Page) -> None:
    _show(page, nprocs=4, seconds=0)
    _write(page, "for (let k = 0; k < 3000; k++) kernel.write(k % 4, `line ${k}\\n`)")
    _until_acknowledged(page)
    assert 4 < page.locator(".nbl-row").count() < 100


def test_older_text_is_paged_in(page: Page) -> None:
    _show(page, nprocs=1, seconds=-1, before=40_000)
    page.wait_for_selector(f"{LOG} >> text=line 39999 of before")
    assert page.evaluate("kernel.logs[0].length") > 800_000
    page.wait_for_function(
        "() => { const log = document.querySelector('.nbl-log'); log.scrollTop = 0; "
        "return log.innerText.startsWith('line 0 of before') }"
    )
    assert len(_sent(page, "page")) == 3
    assert page.locator(".nbl-gap").count() == 0


def test_what_a_flood_left_out_can_be_filled_in(page: Page) -> None:
    _show(page, nprocs=1, seconds=0)
    _write(page, "kernel.write(0, 'before\\n')")
    _write(page, "for (let k = 0; k < 20000; k++) kernel.write(0, `line ${k} of the flood\\n`)")
    _until_acknowledged(page)
    page.evaluate("document.querySelector('.nbl-log').scrollTop = 0")
    page.click(".nbl-gap >> text=not shown")
    # the rest of it is little, and comes when it is in sight
    page.wait_for_function("document.querySelector('.nbl-log').innerText.includes('line 1 of the flood')")
    assert page.locator(".nbl-gap").count() == 0
    assert len(_sent(page, "page")) == 2


def test_a_page_that_cannot_be_read_says_so(page: Page) -> None:
    _show(page, nprocs=1, seconds=0)
    _write(page, "kernel.write(0, 'before\\n')")
    _write(page, "kernel.pagesFail = 'no such file'; kernel.write(0, 'x\\n'.repeat(100000))")
    _until_acknowledged(page)
    page.evaluate("document.querySelector('.nbl-log').scrollTop = 0")
    page.click(".nbl-gap button")
    page.wait_for_selector(".nbl-gap >> text=could not be read: no such file")


# What frontends do to binary buffers.
WAYS = {
    "whole": "buffers => buffers",
    "of another kind": "buffers => buffers.map(view => view.buffer)",
    "missing": "() => undefined",
    "none": "() => []",
    "empty": "buffers => buffers.map(() => new DataView(new ArrayBuffer(0)))",
    "objects": "buffers => buffers.map(() => ({}))",
    "texts": "buffers => buffers.map(view => new TextDecoder().decode(view))",
    "changed": "buffers => buffers.map(view => new DataView(new Uint8Array(view.byteLength).fill(63).buffer))",
    "with the message": "() => null",
}
TEXT = "größer \x1b[32mgreen\x1b[0m 日本語"


@pytest.mark.parametrize("way", WAYS)
def test_what_becomes_of_buffers_on_their_way(page: Page, tmp_path: Path, way: str) -> None:
    # from the first message on
    page.evaluate(
        f"() => {{ harness.show({{nprocs: 2, seconds: -1}}).way = {WAYS[way]}; return harness.settled() }}",
    )
    _write(page, f"kernel.write(0, {TEXT + chr(10)!r}.repeat(3000))")
    page.wait_for_selector("section[aria-label='rank 0'] .nbl-row >> text=größer green 日本語")
    assert page.evaluate("kernel.plain") == (way not in ("whole", "of another kind"))
    _until_acknowledged(page)
    _write(page, "kernel.write(1, 'and more\\n')")
    page.wait_for_selector("section[aria-label='rank 1'] .nbl-row >> text=and more")
    # older text, which is asked for
    pane = page.get_by_role("region", name="rank 0")
    pane.hover()
    with page.expect_download() as download:
        pane.get_by_role("button", name="download the whole log of rank 0").click()
    download.value.save_as(tmp_path / "log")
    assert (tmp_path / "log").read_text(encoding="utf-8") == f"{TEXT}\n" * 3000


def test_buffers_that_are_lost_in_the_midst(page: Page) -> None:
    _show(page, nprocs=1, seconds=-1)
    _write(page, "kernel.write(0, 'before\\n')")
    _until_acknowledged(page)
    _write(page, "kernel.way = () => []; kernel.write(0, 'after\\n')")
    page.wait_for_selector(".nbl-row >> text=after")
    assert page.inner_text(LOG).split() == ["before", "after"]
    assert [message.get("buffers", True) for message in _sent(page, "hello")] == [True, False]


def test_older_text_without_buffers(page: Page) -> None:
    _show(page, nprocs=1, seconds=-1)
    _write(page, "for (let k = 0; k < 20_000; k++) kernel.write(0, `line ${k}\\n`)")
    _until_acknowledged(page)
    # the first buffer that is lost is that of an answer
    page.evaluate("() => { kernel.way = () => [] }")
    with page.expect_download() as download:
        page.get_by_role("button", name="download the whole log of rank 0").click()
    assert download.value.path().read_text() == "".join(f"line {k}\n" for k in range(20_000))
    assert page.evaluate("kernel.plain")


def test_searching(page: Page) -> None:
    _show(page, nprocs=2, seconds=0)
    _write(
        page, "for (let k = 0; k < 300; k++) kernel.write(k % 2, k % 100 === 7 ? `a Needle ${k}\\n` : `hay ${k}\\n`)"
    )
    page.focus(LOG)
    page.keyboard.press("Control+f")
    page.keyboard.type("needle")
    page.wait_for_selector(".nbl-hits >> text=3")
    page.keyboard.press("Enter")
    page.wait_for_selector(".nbl-hits >> text=3/3")
    assert page.inner_text(".nbl-now") == "Needle"
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".nbl-hits >> text=2/3")
    page.wait_for_function("document.querySelector('.nbl-now').closest('.nbl-row').innerText === 'a Needle 107'")
    page.keyboard.press("Escape")
    assert page.input_value(".nbl-field") == ""
    page.wait_for_selector(".nbl-hit", state="detached")


def test_download_brings_every_byte(page: Page, tmp_path: Path) -> None:
    _show(page, nprocs=2, seconds=0)
    _write(page, "for (let k = 0; k < 60000; k++) kernel.write(1, `line ${k} é\\n`, 1 + k % 2)")
    pane = page.locator("section[aria-label='rank 1']")
    pane.hover()
    with page.expect_download() as download:
        pane.get_by_role("button", name="download the whole log of rank 1").click()
    assert download.value.suggested_filename == "rank-1.log"
    download.value.save_as(tmp_path / "log")
    text = (tmp_path / "log").read_text()
    assert text.endswith("line 59999 é\n")
    assert text.count("\n") == 60000 + 2


def test_copy_takes_all_that_is_held(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    _show(page, nprocs=1, seconds=0)
    _write(page, "for (let k = 0; k < 300; k++) kernel.write(0, `line ${k}\\n`)")
    page.hover(LOG)
    page.get_by_role("button", name="copy the text of rank 0").click()
    page.wait_for_selector(".nbl-where >> text=copied 302 lines")


def test_the_map_is_walked_through_with_keys(page: Page) -> None:
    _show(page, nprocs=64)
    page.focus(".nbl-tile[tabindex='0']")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".nbl-look .nbl-badge >> text=17")
    page.keyboard.press("Enter")
    page.wait_for_selector("section[aria-label='rank 17'] .nbl-row")
    assert page.get_attribute(".nbl-tile >> nth=17", "aria-selected") == "true"
    assert "17" in _sent(page, "watch")[-1]["logs"]


def test_the_first_failure_comes_first_and_is_said_aloud(page: Page) -> None:
    _show(page, nprocs=4)
    page.evaluate("harness.play(kernel, 24, {failing: 2})")
    _write(page, "")
    assert page.locator(".nbl-pane").first.get_attribute("aria-label") == "rank 2"
    assert "loss is nan" in page.inner_text(".nbl-trace >> nth=0")
    assert page.inner_text(".nbl-live") == "ranks 0-1, 3 ended with the others; rank 2 failed"
    assert "ranks 0-1, 3 ended because of rank 2" in page.inner_text(".nbl-cause")
    assert page.locator(".nbl-pane.nbl-collateral").count() == 3


def test_views_of_one_panel_share_what_is_known(page: Page) -> None:
    _show(page, nprocs=2, views=2)
    _write(page, "kernel.write(1, 'seen twice\\n')")
    _until_acknowledged(page)
    assert page.locator(".nbl-row >> text=seen twice").count() == 2
    assert len({message["client"] for message in _sent(page, "watch")}) == 1
    page.evaluate("document.querySelectorAll('.nbl-modes')[1].children[1].click()")
    assert _sent(page, "watch")[-1]["logs"] == ["0", "1", "all"]


def test_nothing_stays_behind_when_views_close(page: Page) -> None:
    _show(page, views=2)
    page.evaluate("harness.close()")
    assert page.evaluate("kernel.callbacks.size") == 0
    sent = page.evaluate("kernel.sent.length")
    _write(page, "")
    page.wait_for_timeout(600)  # two beats of what must not beat any more
    assert page.evaluate("kernel.sent.length") == sent
    assert page.locator("#cell *").count() == 0


def test_text_of_ranks_becomes_no_markup(page: Page) -> None:
    _show(page, nprocs=2, seconds=3, nasty=True, title="<img src=x onerror='window.hacked = 9'>")
    _write(
        page,
        "for (const line of harness.NASTY) { kernel.write(1, line + '\\n', 2);"
        "kernel.change(1, {state: 'failed', root: true, why: line, exit: line, traceback: line, line}) }",
    )
    page.evaluate("new Promise(done => setTimeout(done, 100))")
    for mode in ("Merged", "Folded"):
        page.click(f"text={mode}")
        page.evaluate("harness.settled()")
    assert page.evaluate("window.hacked") is None
    assert page.locator("#cell :is(script, img, a)").count() == 0
    assert "<script>" in page.inner_text(".nbl-log")


def test_a_line_of_10_mb_hangs_nothing(page: Page) -> None:
    _show(page, nprocs=2, seconds=0)
    gaps = page.evaluate(
        "harness.measure(1.5, tick => { if (tick < 10) kernel.write(0, 'x'.repeat(1_000_000)); kernel.tick() })"
    )
    assert gaps["ticks"] > 10
    _write(page, "kernel.write(0, '\\nthe end\\n')")
    page.wait_for_selector(".nbl-row >> text=the end")
    page.get_by_role("button", name="wrap long lines").click()
    page.wait_for_selector(".nbl-row >> text=the end")


def test_keys_do_not_reach_jupyter(page: Page) -> None:
    _show(page)
    page.evaluate("window.heard = []; document.addEventListener('keydown', event => heard.push(event.key))")
    page.focus(LOG)
    for key in ("d", "d", "a", "Escape", "Enter", "Control+f"):
        page.keyboard.press(key)
    assert page.evaluate("heard") in ([], ["Control"])
    assert page.get_attribute(".nbl-root", "data-lm-suppress-shortcuts") == "true"


def test_a_bar_stays_below_what_is_printed(page: Page) -> None:
    _show(page, nprocs=2, seconds=-1)
    for mode in ("Grid", "Merged", "Folded"):
        page.click(f".nbl-modes >> text={mode}")
        _write(page, "kernel.write(0, '\\rbar 10%', 2); kernel.write(0, 'printed\\n'.repeat(50))")
        assert page.inner_text(LOG).splitlines()[-1].endswith("bar 10%")
        _write(page, "kernel.write(0, '\\r       \\r', 2)")
        assert page.inner_text(LOG).splitlines()[-1].endswith("printed")


def test_messages_take_the_way_on_which_they_are_heard(page: Page) -> None:
    _show(page, nprocs=2, seconds=0)
    _write(page, "kernel.hears = 'control'; kernel.asks = false")
    before = page.evaluate("[kernel.sent.length, kernel.control.length]")
    _write(page, "kernel.write(0, 'little\\n')")
    assert page.evaluate("[kernel.sent.length, kernel.control.length]") == before
    _write(page, "kernel.asks = true; kernel.write(0, 'much\\n')")
    _until_acknowledged(page)
    # what comes over the control channel is counted among what was sent, so both have one more
    after = page.evaluate("[kernel.sent.length, kernel.control.length]")
    assert after == [number + 1 for number in before]
    assert _sent(page, "ack")[-1]["logs"] == ["0", "1"]
    # to stop matters more than what the kernel's status reads meanwhile
    page.click(".nbl-stop")
    assert len(_sent(page, "stop")) == 2


def _overhang(page: Page, selector: str) -> float:
    """How much of the elements' content does not fit into them, at most."""
    most: float = page.evaluate(
        "selector => Math.max(...Array.from(document.querySelectorAll(selector), "
        "el => el.scrollHeight - el.clientHeight))",
        selector,
    )
    return most


@pytest.mark.parametrize("nprocs", [16, 64, 256])
@pytest.mark.parametrize("width", [540, 860, 1080])
def test_the_whole_map_is_in_sight(page: Page, nprocs: int, width: int) -> None:
    _show(page, nprocs=nprocs, width=width, failing=2, running=True)
    assert _overhang(page, ".nbl-map") <= 0
    assert _overhang(page, ".nbl-tile") <= 0


def test_a_map_that_is_cut_off_shows_that(page: Page) -> None:
    _show(page, nprocs=256, width=540)
    assert page.locator(".nbl-map.nbl-cut").count() == 0
    page.evaluate("document.querySelector('.nbl-panel').style.height = '400px'")
    page.wait_for_selector(".nbl-map.nbl-cut")
    page.hover(".nbl-map")
    page.mouse.wheel(0, 2000)
    page.wait_for_selector(".nbl-map:not(.nbl-cut)")


AT_END = """() => {
    const trace = document.querySelector('.nbl-trace');
    return trace.clientHeight && trace.scrollTop + trace.clientHeight >= trace.scrollHeight - 1;
}"""


def test_the_error_stays_in_sight(page: Page) -> None:
    _show(page, nprocs=8, width=1080, failing=2, running=True)
    page.wait_for_function(AT_END)
    for width in ("540px", "1080px", "540px"):
        page.evaluate("width => { document.getElementById('cell').style.width = width }", width)
        page.evaluate("harness.settled()")
        page.wait_for_function(AT_END)
    # unless the person reads further up
    page.hover(".nbl-trace >> nth=0")
    page.mouse.wheel(0, -2000)
    page.wait_for_function("document.querySelector('.nbl-trace').scrollTop === 0")
    page.evaluate("document.getElementById('cell').style.width = '1080px'")
    page.evaluate("harness.settled()")
    assert page.evaluate("document.querySelector('.nbl-trace').scrollTop") == 0


LAST_ROWS = """() => Array.from(document.querySelectorAll('.nbl-logbox'), box => {
    const rows = box.querySelectorAll('.nbl-row');
    return Math.round(rows[rows.length - 1].getBoundingClientRect().bottom - box.getBoundingClientRect().bottom);
})"""


def test_logs_follow_their_end_whatever_changes_around_them(page: Page) -> None:
    _show(page, nprocs=8, width=1080)
    changes = [
        "document.documentElement.style.setProperty('--jp-code-font-size', '17px')",
        "document.documentElement.style.setProperty('--jp-code-font-size', '11px')",
        "document.getElementById('cell').style.width = '540px'",
        "document.querySelector('.nbl-panel').style.height = '900px'",
        "document.documentElement.dataset.theme = 'dark'; document.getElementById('cell').style.width = '1080px'",
        "document.getElementById('cell').style.display = 'none'",
        "document.getElementById('cell').style.display = ''",
        # the panes change places, and so leave the document for a moment
        "kernel.change(3, {state: 'failed', root: true, why: 'x'}); kernel.tick()",
    ]
    for change in changes:
        page.evaluate(f"() => {{ {change}; return harness.settled(8) }}")
        if "none" not in change:
            # heights in fractions of a pixel are rounded
            assert set(page.evaluate(LAST_ROWS)) <= {-1, 0, 1}, change
    assert page.get_attribute(".nbl-icon[aria-label='follow the end']", "aria-pressed") == "true"


def test_what_all_use_together(page: Page) -> None:
    _show(page, nprocs=4, seconds=-1)
    _write(page, "for (let rank = 0; rank < 4; rank++) kernel.change(rank, {state: 'running', began: 0, pid: 7})")
    assert page.inner_text(".nbl-metrics .nbl-cpu") == ""
    _write(page, "kernel.setRun({state: 'running', samples: 1, memory: 4e6, about: true, cpu: 0})")
    assert page.inner_text(".nbl-metrics .nbl-memory") == "≈ 4.0 MB"
    assert page.inner_text(".nbl-metrics .nbl-cpu") == "CPU 0 %"
    _write(page, "kernel.setRun({samples: 2, about: false})")
    assert page.inner_text(".nbl-metrics .nbl-memory") == "4.0 MB"


def test_the_curve_goes_on_while_the_memory_stays_as_it_is(page: Page) -> None:
    _show(page, nprocs=1, seconds=-1)
    _write(page, "kernel.change(0, {state: 'running', memory: 5e6}); kernel.setRun({samples: 1})")
    curve = page.locator(".nbl-curve path >> nth=1")
    assert not curve.get_attribute("d")
    _write(page, "kernel.setRun({samples: 2})")
    assert curve.get_attribute("d") == "M0.0 1.5L59.0 1.5"


def test_the_lines_above_the_logs_are_alike(page: Page) -> None:
    for nprocs, width in ((8, 1080), (8, 540), (5, 1080), (3, 860)):
        _show(page, nprocs=nprocs, width=width, failing=2, running=True)
        without = page.evaluate("Array.from(document.querySelectorAll('.nbl-pane'), pane => pane.dataset.without)")
        assert len(set(without[1:])) == 1, (nprocs, width)


def test_of_two_ranks_the_one_that_goes_on_has_room(page: Page) -> None:
    for width in (540, 1080):
        _show(page, nprocs=2, width=width, failing=1, running=True)
        assert page.evaluate("document.querySelectorAll('.nbl-logbox')[1].clientHeight") >= 5 * 17, width


def test_copy_and_download_are_found(page: Page) -> None:
    shown = "document.querySelectorAll('.nbl-panetools')[0].computedStyleMap().get('opacity').value"
    _show(page, nprocs=4, width=860)
    page.wait_for_function(f"{shown} === 0")
    page.hover(LOG)
    page.wait_for_function(f"{shown} === 1")
    for options in ({"nprocs": 1}, {"nprocs": 2, "width": 1080}):
        page.mouse.move(0, 0)
        _show(page, **options)
        page.wait_for_function(f"{shown} === 1")


def test_of_many_ranks_the_number_is_told(page: Page) -> None:
    _show(page, nprocs=64)
    _write(
        page,
        "for (let rank = 0; rank < 64; rank++) if (rank % 3 === 0) "
        "kernel.change(rank, rank ? {state: 'stopped', collateral: true} : {state: 'failed', root: true, why: 'x'})",
    )
    assert "21 ranks ended because of rank 0" in page.inner_text(".nbl-cause")
    assert page.inner_text(".nbl-live") == "rank 0 failed; 21 ranks ended with the others"
    assert page.get_by_role("button", name="Map").get_attribute("title") == "a tile for each rank, and the log of one"


def test_long_lines_are_wrapped_at_spaces(page: Page) -> None:
    _show(page, nprocs=1, seconds=-1, width=400)
    page.get_by_role("button", name="wrap long lines").click()
    _write(
        page,
        "for (let k = 0; k < 300; k++)"
        " kernel.write(0, `line ${k} of words, some-with-hyphens ${'and more '.repeat(k % 9)}`"
        " + `${'x'.repeat(k % 7 ? 9 : 150)} 日本語\\n`)",
    )
    _until_acknowledged(page)
    assert page.evaluate(LAST_ROWS) == [0]
    # no row lies over another one, and none is cut in the midst of a word that fits into a line
    lines = page.evaluate(
        """() => {
            const words = [];
            for (const row of document.querySelectorAll('.nbl-row')) {
                const text = row.firstChild;
                for (const match of text.data.matchAll(/[a-z]+/g)) {
                    if (match[0].length > 20) continue;
                    const range = document.createRange();
                    range.setStart(text, match.index);
                    range.setEnd(text, match.index + match[0].length);
                    words.push(range.getClientRects().length);
                }
            }
            return words;
        }"""
    )
    assert set(lines) == {1}
    rows = page.evaluate(
        "Array.from(document.querySelectorAll('.nbl-row'), row => row.getBoundingClientRect().height / 17 % 1)"
    )
    assert set(rows) == {0}
    # and lines after the first are indented
    row = page.locator(".nbl-row").last
    assert row.evaluate("row => getComputedStyle(row).textIndent").startswith("-")


def test_a_hit_in_one_log_leaves_the_others_at_their_end(page: Page) -> None:
    _show(page, nprocs=2, seconds=0)
    _write(page, "for (let k = 0; k < 300; k++) kernel.write(k % 2, k === 40 ? 'needle\\n' : `hay ${k}\\n`)")
    follow = page.get_by_role("button", name="follow the end")
    assert follow.get_attribute("aria-pressed") == "true"
    page.fill(".nbl-field", "needle")
    page.press(".nbl-field", "Enter")
    page.wait_for_selector(".nbl-now")
    assert follow.get_attribute("aria-pressed") == "mixed"
    follow.click()
    page.wait_for_selector(".nbl-icon[aria-pressed='true'][aria-label='follow the end']")


WARNING = "has neither computed nor written for 60 s: waiting in recv"


def test_a_rank_that_may_hang_is_marked(page: Page) -> None:
    for nprocs in (4, 16, 64, 256):
        _show(page, nprocs=nprocs)
        _write(page, f"kernel.change(1, {{why: {WARNING!r}}})")
        assert page.inner_text(".nbl-counts .nbl-warned") == "1 warning"
        assert page.inner_text(".nbl-live") == f"rank 1 {WARNING}"
        if nprocs == 4:
            assert page.inner_text("section[aria-label='rank 1'] .nbl-fate") == WARNING
        else:
            assert page.get_attribute(".nbl-tile.nbl-warned", "aria-label") == f"rank 1, {WARNING}"
            page.wait_for_selector(".nbl-tile.nbl-warned .nbl-sign[data-shape='warning']:visible")
        _write(page, "kernel.change(1, {why: ''})")
        assert page.locator(".nbl-warned").count() == 0


def test_a_rank_that_asks_is_marked(page: Page) -> None:
    asks = "{asks: 'asks', about: ': <b>name</b>?', answer: '%multiproc debug 1'}"
    words = "asks (%multiproc debug 1): <b>name</b>?"
    for nprocs in (1, 4, 16, 64, 256):
        rank = min(1, nprocs - 1)
        _show(page, nprocs=nprocs)
        _write(page, f"kernel.change({rank}, {asks})")
        assert page.inner_text(".nbl-counts .nbl-asking") == "1 asks"
        assert page.inner_text(".nbl-live") == f"rank {rank} asks: <b>name</b>?"
        who = f"rank {rank} " if nprocs > 1 else ""
        assert page.inner_text(".nbl-words") == f"running: {who}{words}"
        page.wait_for_selector(".nbl-head > .nbl-sign[data-shape='asks']")
        if nprocs <= 4:
            assert page.inner_text(f"section[aria-label='rank {rank}'] .nbl-fate") == words
        else:
            assert page.get_attribute(".nbl-tile.nbl-asking", "aria-label") == f"rank 1, {words}"
            page.wait_for_selector(".nbl-tile.nbl-asking .nbl-sign[data-shape='asks']:visible")
        assert page.locator(".nbl-panel b").count() == 0
        # answered
        _write(page, f"kernel.change({rank}, {{asks: '', about: '', answer: ''}})")
        assert page.locator(".nbl-asking, .nbl-asked").count() == 0
        assert page.inner_text(".nbl-words") == "running"
        page.wait_for_selector(".nbl-head > .nbl-sign[data-shape='running']")


def test_what_ranks_ask_is_said_aloud_once(page: Page) -> None:
    _show(page, nprocs=4)
    page.evaluate(
        "() => { window.said = []; new MutationObserver(() => said.push(document.querySelector('.nbl-live').innerText))"
        ".observe(document.querySelector('.nbl-live'), {childList: true, characterData: true, subtree: true}) }"
    )
    _write(page, "for (const rank of [0, 1, 3]) kernel.change(rank, {asks: 'asks', about: ': name?'})")
    assert page.inner_text(".nbl-words") == "running: ranks 0-1, 3 wait for an answer"
    assert page.inner_text(".nbl-counts .nbl-asking") == "3 ask"
    _write(page, "kernel.change(0, {answer: '%multiproc debug 0'})")
    assert page.inner_text(".nbl-words") == "running: ranks 0-1, 3 wait for an answer (%multiproc debug RANK)"
    _write(page, "kernel.change(0, {asks: 'asks', about: ': next?'})")
    _write(page, "kernel.change(2, {asks: 'waits at its failure', about: ', Cell In[2], line 3'})")
    _write(page, "kernel.change(2, {asks: 'waits in its debugger', about: ', Cell In[2], line 3'})")
    _write(page, "kernel.change(2, {about: ', Cell In[2], line 4'})")
    assert page.evaluate("said") == [
        "ranks 0-1, 3 ask: name?",
        "rank 0 asks: next?",
        "rank 2 waits at its failure, Cell In[2], line 3",
    ]


def test_ranks_that_are_restarted(page: Page) -> None:
    _show(page, nprocs=4, restart="restart 1 of 3")
    assert page.inner_text(".nbl-words") == "running: restart 1 of 3"
    assert page.inner_text(".nbl-counts") == "4 restarting"
    assert page.inner_text("section[aria-label='rank 0'] .nbl-fate") == "restarting"


def test_the_panel_begins_small_and_never_shrinks(page: Page) -> None:
    height = "document.querySelector('.nbl-panel').offsetHeight"
    _show(page, nprocs=2, seconds=0)
    _write(page, "kernel.write(0, 'one line\\n')")
    small = page.evaluate(height)
    assert small < 250
    _write(page, "kernel.write(1, 'line\\n'.repeat(8))")
    page.wait_for_function(f"{height} > {small}")
    # all of it is seen
    page.wait_for_function(
        "Array.from(document.querySelectorAll('.nbl-log')).every(log => log.scrollHeight <= log.clientHeight)"
    )
    _write(page, "kernel.write(1, 'line\\n'.repeat(800))")
    page.wait_for_function(f"{height} > 370")
    # no more than its most
    assert page.evaluate(height) <= 460
    largest = page.evaluate(height)
    page.click("text=Folded")
    page.evaluate("harness.settled()")
    assert page.evaluate(height) == largest


def _show_timed(page: Page) -> None:
    page.clock.install()
    page.evaluate("() => { harness.show({ nprocs: 2, seconds: 3 }) }")
    page.clock.run_for(500)
    assert page.get_attribute(".nbl-panel", "data-state") == "running"


def test_a_kernel_that_is_not_heard_is_not_counted_on(page: Page) -> None:
    _show_timed(page)
    stood = page.inner_text(".nbl-elapsed")
    # one that sends only that it is there
    for _ in range(5):
        page.clock.run_for(2000)
        page.evaluate("kernel.beat()")
    assert page.get_attribute(".nbl-panel", "data-state") == "running"
    assert page.inner_text(".nbl-elapsed") != stood
    page.clock.run_for(7000)
    assert page.get_attribute(".nbl-panel", "data-state") == "silent"
    words = page.inner_text(".nbl-words")
    assert words.startswith("not heard from since ")
    assert page.inner_text(".nbl-live") == words
    stood = page.inner_text(".nbl-elapsed")
    page.clock.run_for(5000)
    assert page.inner_text(".nbl-elapsed") == stood
    # a kernel that was busy would hear it yet
    assert page.is_enabled(".nbl-stop")
    page.evaluate("kernel.beat()")
    page.clock.run_for(500)
    assert page.get_attribute(".nbl-panel", "data-state") == "running"
    assert page.inner_text(".nbl-live") == "heard from again"


def test_a_page_that_slept_has_not_listened(page: Page) -> None:
    _show_timed(page)
    page.clock.fast_forward(600_000)
    page.clock.run_for(500)
    assert page.get_attribute(".nbl-panel", "data-state") == "running"


@pytest.mark.parametrize(
    "lose",
    [
        "kernel.manager.kernel.status = 'autorestarting'",
        "kernel.manager.kernel.status = 'dead'",
        "kernel.manager.kernel = null",
        "kernel.manager.kernel = { id: 'another', status: 'idle' }",
    ],
)
def test_a_kernel_that_is_gone_is_told_of_at_once(page: Page, lose: str) -> None:
    _show(page, nprocs=2, seconds=3)
    page.evaluate("kernel.answers = false")
    page.click(".nbl-head button >> nth=0")
    page.evaluate(f"() => {{ {lose} }}")
    page.wait_for_selector(".nbl-panel[data-state='lost']")
    words = page.inner_text(".nbl-words")
    assert words.startswith("last heard from at ")
    assert words.endswith("; the kernel was restarted or has died")
    assert page.is_disabled(".nbl-stop")
    assert page.inner_text(".nbl-counts") == "2 were running"
    # what was asked is answered by nobody, and that is said
    assert "the kernel was restarted or has died" in page.inner_text(".nbl-stacks")


def test_a_tick_that_was_missed_is_made_up_for(page: Page) -> None:
    _show(page, nprocs=2, seconds=3)
    _until_acknowledged(page)
    greetings = len(_sent(page, "hello"))
    page.evaluate("() => { kernel.change(1, { state: 'finished' }); kernel.changed = {}; kernel.seq++ }")
    _write(page, "")
    page.wait_for_selector("text=1 finished")
    assert len(_sent(page, "hello")) == greetings + 1


def test_a_page_that_is_not_heard_offers_nothing_that_would_not_act(page: Page) -> None:
    page.evaluate("() => { harness.show({ nprocs: 2, seconds: -1 }); kernel.hears = ''; harness.play(kernel, 3) }")
    page.evaluate("() => { kernel.tick(true); return harness.settled() }")
    assert not page.is_visible(".nbl-stop")
    page.evaluate("() => { kernel.hears = 'comm'; kernel.tick(); return harness.settled() }")
    assert page.is_visible(".nbl-stop")


def test_a_view_that_is_removed_says_so(page: Page) -> None:
    _show(page, nprocs=2, seconds=3, views=2)
    page.evaluate("harness.close()")
    gone = _sent(page, "gone")
    assert len(gone) == 1
    assert gone[0]["n"] > max(message["n"] for message in _sent(page, "hello"))


LONG = """const table = [
        ['', 'temperature_celsius', 'relative_humidity_percent'], ['0', '11.5', '61'], ['1', '12.5', '62'],
    ].map(row => row.map(cell => cell.padStart(26)).join('  ')).join('\\n');
    kernel.write(0, `${'x'.repeat(5000)}the-end\\n${'and more words '.repeat(20)}\\n${table}\\n${'='.repeat(200)}\\n`);
    kernel.write(0, '2026-11-29  INFO  loader: ' + 'a message of many words '.repeat(9) + '\\n');
    kernel.write(0, '\\repoch 1:   0%|' + ' '.repeat(90) + '| 0/9\\repoch 1:  10%|#' + ' '.repeat(89) + '| 1/9', 2)"""
# How many lines each row takes, and whether anything lies beyond the right border of the log.
HEIGHTS = """() => {
    const log = document.querySelector('.nbl-log');
    const rows = [...log.querySelectorAll('.nbl-row')].filter(row => row.innerText.trim());
    return [rows.map(row => Math.round(row.getBoundingClientRect().height / 17)), log.scrollWidth > log.clientWidth];
}"""


def test_long_text_is_wrapped_by_itself_but_no_table_and_no_bar(page: Page) -> None:
    _show(page, nprocs=1, seconds=-1, width=420)
    page.evaluate("document.querySelector('.nbl-panel').style.height = '2600px'")
    _write(page, LONG)
    wrap = page.get_by_role("button", name="wrap long lines")
    assert wrap.get_attribute("aria-pressed") == "mixed"
    (unbroken, words, *table, ruler, message, bar), sideways = page.evaluate(HEIGHTS)
    assert unbroken > 5000 * 7.2 / 420
    assert words > 1
    assert table == [1, 1, 1]
    assert (ruler, bar) == (1, 1)
    assert message > 1
    assert sideways
    # a click wraps these too
    wrap.click()
    page.evaluate("harness.settled()")
    assert wrap.get_attribute("aria-pressed") == "true"
    heights, sideways = page.evaluate(HEIGHTS)
    assert min(heights) > 1
    assert not sideways
    # another one none
    wrap.click()
    page.evaluate("harness.settled()")
    assert wrap.get_attribute("aria-pressed") == "false"
    heights, sideways = page.evaluate(HEIGHTS)
    assert set(heights) == {1}
    wrap.click()
    page.evaluate("harness.settled()")
    assert page.evaluate(HEIGHTS)[0] == [unbroken, words, *table, ruler, message, bar]


ROWS = """() => Array.from(document.querySelectorAll('.nbl-log .nbl-row:not(.nbl-gap)'), row => {
    const { top, bottom } = row.getBoundingClientRect();
    return [Number(row.innerText.match(/\\d+/)[0]), Math.round(top), Math.round(bottom)];
})"""


def test_rows_stay_below_each_other_however_many_come_and_go(page: Page) -> None:
    _show(page, nprocs=1, seconds=-1, width=420)
    line = "line ${k} ${'of words-and-hyphens '.repeat(k % 6)}${k % 5 ? '' : '日本語'.repeat(k % 40)}\\n"

    def check() -> int:
        page.evaluate("harness.settled()")
        rows: list[tuple[int, int, int]] = page.evaluate(ROWS)
        for (number, _, bottom), (following, top, _) in itertools.pairwise(rows):
            assert following == number + 1
            assert abs(top - bottom) <= 1
        return rows[-1][0]

    for begin in range(0, 45_000, 500):
        _write(page, f"for (let k = {begin}; k < {begin + 500}; k++) kernel.write(0, `{line}`)")
    # the oldest have been let go
    assert check() == 44_999
    assert page.evaluate(LAST_ROWS) == [0]
    for part in (0.9, 0.5, 0.3, 0.7):
        page.evaluate(
            f"document.querySelector('.nbl-log').scrollTop = {part} * document.querySelector('.nbl-sizer').clientHeight"
        )
        seen = check()
        _write(page, f"for (let k = 45000; k < 45010; k++) kernel.write(0, `{line}`)" if part == 0.9 else "")
        assert check() == seen
    page.click(".nbl-pill")
    assert check() == 45_009
    assert page.evaluate(LAST_ROWS) == [0]


@pytest.mark.parametrize("width", [420, 700])
def test_a_narrow_panel_tells_what_a_person_has_to_know(page: Page, width: int) -> None:
    whole = "(el => el.scrollWidth <= el.clientWidth && el.scrollHeight <= el.clientHeight + 1)"
    words = f"{whole}(document.querySelector('.nbl-words'))"
    _show(page, nprocs=4, width=width, asking=1)
    assert page.inner_text(".nbl-words") == "running: ranks 0-1 wait for an answer (%multiproc debug RANK)"
    assert page.is_visible(".nbl-words")
    assert page.evaluate(words)
    _show(page, nprocs=4, width=width, lost=True)
    page.wait_for_selector(".nbl-lost")
    assert page.is_visible(".nbl-words")
    assert page.evaluate(words)
    _show(page, nprocs=4, width=width, failing=1)
    assert page.evaluate(f"{whole}(document.querySelector('.nbl-causetext'))")
    assert page.evaluate("(el => el.scrollWidth <= el.clientWidth)(document.querySelector('.nbl-trace'))")
    _show(page, nprocs=4, width=width)
    page.click(".nbl-ask")
    page.wait_for_selector(".nbl-stackslines")
    assert page.evaluate("(el => el.scrollWidth <= el.clientWidth)(document.querySelector('.nbl-stackslines'))")
    page.hover("section[aria-label='rank 1']")
    page.click("[aria-label='copy the text of rank 1 that is here']")
    page.wait_for_selector(".nbl-where >> text=/copied \\d+ lines/")


@pytest.mark.parametrize("width", [230, 300, 360, 400, 420, 540, 620, 700, 780, 880, 1000, 1400, 1900])
def test_nothing_is_cut_at_any_width(page: Page, width: int) -> None:
    page.set_viewport_size({"width": 2000, "height": 1000})
    for nprocs in (1, 2, 3, 4, 8, 16, 64):
        for options in ({}, {"failing": 0}, {"asking": 0}, {"warned": 0}, {"over": True}):
            _show(page, nprocs=nprocs, width=width, **options)
            assert page.evaluate("harness.cutOrSmall()") == [], (nprocs, options)


@pytest.mark.parametrize("theme", ["light", "dark", "contrast", "vscode"])
def test_all_that_is_written_can_be_read(page: Page, theme: str) -> None:
    for nprocs in (4, 16, 64):
        for options in ({}, {"failing": 1}, {"lost": True}, {"asking": 1}, {"warned": 1}, {"over": True}):
            _show(page, nprocs=nprocs, theme=theme, **options)
            if "lost" in options:
                page.wait_for_selector(".nbl-lost")
            worst: dict[str, float] = page.evaluate("harness.contrasts()")
            assert len(worst) > 5
            assert {name: contrast for name, contrast in worst.items() if contrast < 4.5} == {}, (nprocs, options)


def test_whole_lines_are_seen(page: Page) -> None:
    # of a traceback whose end is in sight
    torn = """(trace => {
        const { lineHeight, paddingTop } = getComputedStyle(trace);
        return trace.scrollTop && (trace.scrollTop - parseFloat(paddingTop)) % parseFloat(lineHeight);
    })(document.querySelector('.nbl-trace'))"""
    for nprocs, width in ((1, 420), (4, 420), (4, 1000), (16, 700)):
        _show(page, nprocs=nprocs, width=width, failing=0)
        page.wait_for_function(f"Math.abs({torn}) <= 1")
        assert page.evaluate("document.querySelector('.nbl-trace').scrollTop") > 0
        # of what it has failed is said above, and below: not once more between
        assert page.inner_text(".nbl-first .nbl-fate") == "exit code 1"
    # what has room begins at the top of its log
    _show(page, nprocs=2, seconds=-1)
    _write(page, "kernel.write(0, 'one line\\n')")
    assert page.evaluate(
        "document.querySelector('.nbl-row').getBoundingClientRect().top"
        " - document.querySelector('.nbl-logbox').getBoundingClientRect().top"
    ) == pytest.approx(0, abs=1)
