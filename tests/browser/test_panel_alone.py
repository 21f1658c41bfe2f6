"""The live panel by itself, with a kernel that is made up in the page: what would be hard to bring about in Jupyter."""

from __future__ import annotations

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
