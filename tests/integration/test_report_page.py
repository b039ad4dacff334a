"""report.html in a real browser, on a screen as wide as a phone's."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tune.helpers import make_plan
from tests.unit.tune.reporting.test_document import proven, told
from tune.records.search_document import ProfileSection, SearchDocument
from tune.reporting import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<img src=x onerror=pwned=1></script><script>pwned=1</script><a href='http://e.vil'>ratio</a>"
WIDTHS = (390, 1100)  # pixels: a phone, a window
DEADLINE_S = 250.0
LISTEN = """<script>
const wrong = [];
addEventListener("error", event => wrong.push(String(event.message || event.target.outerHTML)), true);
document.addEventListener("securitypolicyviolation", event => wrong.push(event.blockedURI));
</script>"""
LOOK = """<script>
document.querySelectorAll("details").forEach(fold => { fold.open = true; });
const plots = [...document.querySelectorAll(".plot")];
const colour = () => getComputedStyle(document.body).backgroundColor;
const fits = text => {
  const box = text.getBoundingClientRect(), frame = text.closest(".wide").getBoundingClientRect();
  return text.textContent.length > 60 || (box.left >= frame.left - 1 && box.right <= frame.right + 1);
};
const scrolls = plot => plot.style.minWidth !== "";
const isCut = plot => !scrolls(plot) && ![...plot.querySelectorAll("text, span")].every(fits);
const seen = {light: colour(), plots: plots.length};
document.getElementById("flip").click();
Object.assign(seen, {
  dark: colour(), wrong, pwned: "pwned" in window,
  missing: plots.filter(plot => plot.querySelector("path, line.line, rect") === null).map(plot => plot.id),
  cut: plots.filter(isCut).map(plot => plot.id),
  requests: performance.getEntriesByType("resource").map(entry => entry.name),
  strange: document.querySelectorAll("img, .plot a, iframe").length,
  titles: [...document.querySelectorAll("svg .axis-name")].map(text => text.textContent),
  wide: [innerWidth, document.documentElement.scrollWidth],
});
parent.postMessage(JSON.stringify(seen), "*");
</script>"""
FRAME = """<!doctype html><pre id="seen"></pre><script>
onmessage = event => { document.getElementById("seen").textContent = event.data; };
</script><iframe src="probed.html" style="width: %dpx; height: 800px; border: 0"></iframe>"""


def renamed(node: Any) -> Any:
    """With a hostile name in place of one parameter's, and of every text that names the data."""
    if isinstance(node, dict):
        return {HOSTILE if key == "update_ratio" else key: renamed(value) for key, value in node.items()}
    return [renamed(one) for one in node] if isinstance(node, list) else node


def in_browser(folder: Path, width: int) -> dict[str, Any]:
    """What a browser makes of the report in a folder, in a window of this width."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    text = text.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';", 1)
    text = text.replace("<title>", f"{LISTEN}<title>", 1).replace("</body>", f"{LOOK}</body>")
    (folder / "probed.html").write_text(text, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME % width, encoding="utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-dev-shm-usage",
         f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=60000", "--dump-dom",
         (folder / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=DEADLINE_S, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="seen">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, f"nothing was drawn: {done.stderr[-2000:]}"
    return json.loads(html.unescape(found.group(1)))


@pytest.mark.integration
@pytest.mark.timeout(400)
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_every_plot_is_drawn_and_nothing_else_happens(tmp_path: Path) -> None:
    found = told(make_plan(objectives="score,seconds", data_name=HOSTILE), proven(tmp_path)[0], tmp_path)
    shares = {"training": 0.9, "evaluation": 0.1}
    found.profile = ProfileSection(
        before_first_step={"plan_and_cluster": 1.0, "slots": 2.0}, slot_seconds=9.0, shares=shares, gap=None
    )
    hostile = SearchDocument.model_validate(renamed(found.to_json()))
    page.write_search_results(hostile, tmp_path)
    for width in WIDTHS:
        seen = in_browser(tmp_path, width)
        assert (seen["wrong"], seen["requests"], seen["missing"], seen["cut"]) == ([], [], [], [])
        assert seen["plots"] == 14
        assert seen["light"] == "rgb(255, 255, 255)"
        assert seen["dark"] == "rgb(20, 24, 31)"
        assert (seen["pwned"], seen["strange"]) == (False, 0)
        assert HOSTILE in seen["titles"]
        assert seen["wide"][0] == width >= seen["wide"][1] - 1  # a rounded pixel
