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
PHONE = 390  # pixels
DEADLINE_S = 250.0
LISTEN = """<script>
const wrong = [];
addEventListener("error", event => wrong.push(String(event.message || event.target.outerHTML)), true);
addEventListener("unhandledrejection", event => wrong.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", event => wrong.push(event.blockedURI));
console.error = (...said) => wrong.push(said.join(" "));
</script>"""
LOOK = """<script>
const plots = [...document.querySelectorAll(".plot")];
const titles = () => [...document.querySelectorAll("svg .xtitle")];
const look = () => ({
  paper: getComputedStyle(document.body).backgroundColor,
  labels: [...new Set(titles().map(text => getComputedStyle(text).fill))],
});
const drawn = plot => plot.querySelector("path.js-line, path.point, .points path, canvas") !== null;
const wait = (ready, then) => ready() ? then() : setTimeout(wait, 50, ready, then);
wait(() => document.documentElement.dataset.drawn == plots.length, () => {
  const missing = plots.filter(plot => !drawn(plot)).map(plot => plot.id);
  const seen = {light: look(), plots: plots.length, missing};
  document.getElementById("dark").click();
  wait(() => look().labels[0] !== seen.light.labels[0], () => {
    Object.assign(seen, {
      dark: look(), wrong, pressed: document.getElementById("dark").getAttribute("aria-pressed"),
      requests: performance.getEntriesByType("resource").map(entry => entry.name), pwned: "pwned" in window,
      strange: document.querySelectorAll("img, .plot a, iframe").length,
      titles: titles().map(text => text.textContent),
      wide: [innerWidth, document.documentElement.scrollWidth],
    });
    parent.postMessage(JSON.stringify(seen), "*");
  });
});
</script>"""
FRAME = """<!doctype html><pre id="seen"></pre><script>
onmessage = event => { document.getElementById("seen").textContent = event.data; };
</script><iframe src="probed.html" style="width: %dpx; height: 800px; border: 0"></iframe>"""


def renamed(node: Any) -> Any:
    """With a hostile name in place of one parameter's, and of every text that names the data."""
    if isinstance(node, dict):
        return {HOSTILE if key == "update_ratio" else key: renamed(value) for key, value in node.items()}
    return [renamed(one) for one in node] if isinstance(node, list) else node


def in_browser(folder: Path) -> dict[str, Any]:
    """What a browser makes of the report in a folder."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    text = text.replace("<title>", f"{LISTEN}<title>", 1).replace("</body>", f"{LOOK}</body>")
    (folder / "probed.html").write_text(text, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME % PHONE, encoding="utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage",
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
    seen = in_browser(tmp_path)
    assert seen["wrong"] == []
    assert seen["requests"] == []
    assert seen["plots"] == 12
    assert seen["missing"] == []
    assert seen["light"]["paper"] == "rgb(255, 255, 255)"
    assert seen["dark"]["paper"] == "rgb(20, 24, 31)"
    assert len(seen["light"]["labels"]) == len(seen["dark"]["labels"]) == 1
    assert seen["light"]["labels"] != seen["dark"]["labels"]
    assert seen["pressed"] == "true"
    assert (seen["pwned"], seen["strange"]) == (False, 0)
    assert HOSTILE in seen["titles"]
    assert seen["wide"][0] == PHONE >= seen["wide"][1] - 1  # a rounded pixel
