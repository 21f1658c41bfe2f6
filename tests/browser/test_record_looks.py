"""How the record looks: in pages of every width, in both themes, and where nobody trusts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import IDLE, begin

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

WIDTHS = (420, 700, 1000, 1400, 1900)
STEPS = """%%multiproc {}
for step in range({}):
    print(f'step {{step:04}} of rank {{rank}}: loss {{1 / (step + 1):.3f}}')"""
CELLS = {
    "few": "%%multiproc 4\nprint('epoch', 1)\nprint('loss', rank / 7)",
    "merged": STEPS.format(4, 400),
    "by-rank": STEPS.format(4, 3000),
    "eight": STEPS.format(8, 3000),
    "many": STEPS.format(64, 60),
    "long": "%%multiproc 2\nprint(f'rank {rank}: ' + 'x' * 3000)\nprint('{' + ', '.join(map(str, range(500))) + '}')",
    "bars": """%%multiproc 2
import sys, warnings
from tqdm import tqdm
for epoch in range(3):
    for _ in tqdm(range(20 + rank), desc=f'epoch {epoch}'):
        pass
    print(f'epoch {epoch}: loss {1 / (epoch + 1):.3f}')
warnings.warn('this rank is slow')""",
    "figures": """%%multiproc 4
import matplotlib.pyplot as plt
plt.plot([0, rank, 4])
plt.title(f'loss of rank {rank}')
plt.show()""",
    "values": """%%multiproc 4
import pandas as pd
pd.DataFrame({f'quantity {column}': [rank * column / 7] * 4 for column in range(3)})""",
    "failed": f"""{STEPS.format(4, 400)}
if rank == 2:
    raise ValueError('no shard ' + 'abcdef0123456789' * 20)
threading.Event().wait(9999)""",
}
BOXES = """() => [...document.querySelectorAll('.jp-OutputArea-output div')]
    .filter(({ scrollHeight, clientHeight }) => scrollHeight > clientHeight + 1)
    .filter(box => getComputedStyle(box).overflowY === 'auto')
    .map(box => [box.clientHeight, Math.round(box.scrollTop)])"""
# What has to be scrolled sideways to be seen, or lies outside of its record.
# A space at the end of a wrapped line hangs over the edge, where nobody sees it (CSS Text 3).
TOO_WIDE = """() => {
    const records = [...document.querySelectorAll('div')].filter(div =>
        div.style.overflowWrap === 'anywhere' && div.textContent.includes('%%multiproc'));
    if (records.length !== 1) return [`${records.length} records`];
    const [record] = records;
    const { right } = record.getBoundingClientRect();
    return [record, ...record.querySelectorAll('*')].filter(part =>
        part.scrollWidth > part.clientWidth + 1 && getComputedStyle(part).display !== 'inline'
        || part.getBoundingClientRect().right > right + (getComputedStyle(part).display === 'inline' ? SPACE : 1))
        .map(part => part.outerHTML.slice(0, 200));
}""".replace("SPACE", "10")
# Short words of ranks' lines that go on in the next line.
BROKEN = """() => {
    const found = [];
    for (const pre of document.querySelectorAll('.jp-OutputArea-output pre[style]')) {
        const texts = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            for (const match of texts.currentNode.data.matchAll(/\\S+/g)) {
                if (match[0].length > 12) continue;
                const range = document.createRange();
                range.setStart(texts.currentNode, match.index);
                range.setEnd(texts.currentNode, match.index + match[0].length);
                if (range.getClientRects().length > 1) found.push(match[0]);
            }
        }
    }
    return found;
}"""
# Heights below the cells after the first, when they have been the same for some frames: Jupyter lays out bit by bit.
SETTLED = """async () => {
    const heights = () => [innerWidth, ...window.jupyterapp.shell.currentWidget.content.widgets.slice(1)
        .map(cell => Math.round(cell.node.querySelector('.jp-Cell-outputWrapper').getBoundingClientRect().height))];
    let before = heights();
    for (let same = 0; same < 60; ) {
        await new Promise(requestAnimationFrame);
        const now = heights();
        same = now.join() === before.join() ? same + 1 : 0;
        before = now;
    }
    return before.slice(1);
}"""
# Left edges and tops of the outputs with the lines that name ranks, and of those with their images.
PLACES = """() => ['.nblaunch-image', '.jp-RenderedImage'].map(kind =>
    [...document.querySelectorAll(`.jp-OutputArea-child:has(${kind})`)]
        .map(output => output.getBoundingClientRect()).map(({ left, top }) => [Math.round(left), Math.round(top)]))"""
# Of what stands below a cell, in a page that is so wide: no more than a person can look over.
MOST = {"few": 160, "merged": 1150, "many": 1500, "figures": 1400, "by-rank": 1150, "eight": 2000, "failed": 2300}


@pytest.mark.parametrize("name", CELLS)
def test_a_record_in_pages_of_every_width(page: Any, lab: str, lab_folder: Path, pictures: Path, name: str) -> None:
    page.set_viewport_size({"width": 900, "height": 1400})
    begin(page, lab, lab_folder, f"looks-{name}", [CELLS[name]])
    page.wait_for_function("window.jupyterapp.shell.currentWidget.content.widgets[1].prompt !== '*'")
    page.wait_for_selector("text=/[✓✕■] %%multiproc/")
    page.wait_for_function(IDLE)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1400})
        (height,) = page.evaluate(SETTLED)
        page.screenshot(path=pictures / f"record-{name}-{width}-{page.theme}.png")
        boxes = page.evaluate(BOXES)
        print("height", name, page.theme, width, height, boxes)
        assert height <= MOST.get(name, 900)
        # their ends are seen
        assert all(scrolled == 0 for _, scrolled in boxes)
        assert all(height <= 420 for height, _ in boxes)
        assert page.evaluate(TOO_WIDE) == []
        assert page.evaluate(BROKEN) == []
    if name in ("merged", "by-rank", "eight", "failed"):
        assert boxes
    if name == "figures":
        # as many beside each other as there is room for, each below the line with its rank
        lines, images = page.evaluate(PLACES)
        assert len(images) == 4
        assert len({top for _, top in images}) == 1
        assert lines == [[left, top] for left, top in images]
