"""The pictures of the documentation, from a search that it runs: terminal, report, MLflow, optuna-dashboard.

    .venv/bin/python docs/screenshots.py                    # ten minutes on 2 cores; writes docs/images
    .venv/bin/python docs/screenshots.py --search "--task cola --trials 6 --max-steps 60"

Needs Chromium on the PATH.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

import mlflow
import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"
COLUMNS, ROWS = 110, 30
HALFWAY = re.compile(r"race [1-9]")  # on the terminal when its picture is taken
DEADLINE_S = 3600.0
COLOURS = {"default": None, "brown": "yellow", "brightblack": "bright_black"}  # of pyte, in rich's words
ANSWERS_WITHIN_S = 120.0
CLONE = "/home/ada/dps-tune"  # pictured in place of the temporary folder in which the search runs


def screens(command: list[str], cwd: Path) -> Iterator[pyte.Screen]:
    """A command's terminal, each time that it has changed; after the last one the command has ended well."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS), LINES=str(ROWS))
        os.execv(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    deadline = time.monotonic() + DEADLINE_S
    with suppress(OSError):  # how Linux says that nobody holds the other end any more
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 1.0)[0]:
                stream.feed(os.read(terminal, 65536))
                yield screen
    _, status = os.waitpid(pid, 0)
    if status:
        sys.exit(
            "\n".join(screen.display) + f"\nthe search ended with status {os.waitstatus_to_exitcode(status)}"
        )


def drawn(screen: pyte.Screen, title: str, folder: Path) -> str:
    """A terminal's screen as SVG, as if the command ran in a user's clone and not in this folder."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for row in range(ROWS):
        cells = [screen.buffer[row][column] for column in range(COLUMNS)]
        line = Text()
        for (bold, italic, colour), alike in groupby(cells, lambda cell: (cell.bold, cell.italics, cell.fg)):
            style = Style(bold=bold, italic=italic, color=COLOURS.get(colour, colour))
            line.append("".join(cell.data for cell in alike), style)
        line.rstrip()
        if str(folder) in line.plain:  # a path, which the terminal never colours
            line = Text(line.plain.replace(str(folder), CLONE))
        console.print(line)
    return console.export_svg(title=title)


@contextmanager
def served(command: list[str], port: int) -> Iterator[str]:
    """A server of a command, until it answers and for as long as it is needed."""
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while True:
            with suppress(OSError):
                urllib.request.urlopen(address, timeout=5).close()
                break
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"no answer from: {' '.join(command)}")
            time.sleep(0.5)
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def find_browser() -> str:
    """The path of Chromium. Exits where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if browser := shutil.which(name):
            return browser
    sys.exit("Chromium is not on the PATH; install it (Debian: apt install chromium)")


def photographed(address: str, name: str, width: int, height: int) -> None:
    """A page in Chromium, as docs/images/NAME.png."""
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="screenshot-") as profile:
        options = "--headless=new --no-sandbox --disable-dev-shm-usage --hide-scrollbars"
        subprocess.run(
            [browser, *options.split(), "--enable-unsafe-swiftshader", "--virtual-time-budget=30000",
             f"--window-size={width},{height}", f"--user-data-dir={profile}",
             f"--screenshot={IMAGES / name}.png", address],
            check=True, timeout=ANSWERS_WITHIN_S * 2, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    print(f"docs/images/{name}.png", flush=True)


def searched(folder: Path, options: str) -> Path:
    """The output folder of a search run to its end, in a terminal that is pictured halfway."""
    output = folder / "runs/cola"
    words = [str(ROOT / "tune/search.py"), *options.split(), "--output", "runs/cola"]
    shown = f"python tune/search.py {options}"
    screen, taken = None, False
    for screen in screens([sys.executable, *words], folder):
        if not taken and any(HALFWAY.search(line) for line in screen.display):
            (IMAGES / "terminal.svg").write_text(drawn(screen, shown, folder), encoding="utf-8")
            taken = True
    if screen is None or not taken:
        sys.exit("the live table never showed a race under way")
    return output


def tracked(store: str) -> None:
    """MLflow's view that compares trials."""
    mlflow.set_tracking_uri(store)
    runs = mlflow.search_runs(
        search_all_experiments=True,
        filter_string="tags.purpose = 'search' and tags.outcome = 'completed'",
        output_format="list",
    )
    runs = [run for run in runs if "selection_ratio" in run.data.params]  # without those of the baselines
    experiment = runs[0].info.experiment_id
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        store,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with served(command, port) as address:
        ids = quote(json.dumps([run.info.run_id for run in runs]))
        page = f"{address}/#/compare-runs?runs={ids}&experiments={quote(json.dumps([experiment]))}"
        photographed(page, "mlflow-compare", 1700, 800)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--search", default="--task cola", help="options of the search")
    parser.add_argument(
        "--of", type=Path, help="the output folder of a search that is over; the terminal is left out"
    )
    setting = parser.parse_args()
    find_browser()  # before the search, which takes minutes
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        output = setting.of or searched(Path(folder).resolve(), setting.search)
        photographed((output / "report.html").resolve().as_uri(), "report", 1100, 1140)
        tracked(f"sqlite:///{output.resolve().parent / 'mlflow.db'}")
        port = free_port()
        study = f"sqlite:///{output.resolve() / 'study.db'}"
        command = [str(Path(sys.executable).parent / "optuna-dashboard"), "--port", str(port), study]
        with served(command, port) as address:
            photographed(f"{address}/dashboard/studies/1", "optuna-dashboard", 1400, 1100)
    return 0


if __name__ == "__main__":
    sys.exit(main())
