"""What `pip install dps-tune` brings, in megabytes: in all, by each direct dependency alone, by each extra.

python -m benchmarks.install_size        # Markdown, of the environment that runs it
"""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
MEGABYTE = 1e6


def find_closure(requirements: Iterable[str]) -> set[str]:
    """Return the distributions that these requirements bring, by normalised name; not those that are not
    installed."""
    seen, waiting = set[tuple[str, str]](), [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for extra in {"", *wanted.extras} - {had for key, had in seen if key == name}:
            seen.add((name, extra))
            found = map(Requirement, needs)
            waiting += [
                each for each in found if each.marker is None or each.marker.evaluate({"extra": extra})
            ]
    return {name for name, _ in seen}


def measure_size(names: Iterable[str]) -> float:
    """Return the megabytes of the files of these distributions."""
    total = 0
    for name in names:
        files = importlib.metadata.files(name) or []
        total += sum(place.stat().st_size for each in files if (place := Path(str(each.locate()))).is_file())
    return total / MEGABYTE


def main() -> None:
    """Print the tables."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    direct, extras = project["dependencies"], project["optional-dependencies"]
    every = find_closure(direct)
    print(f"{len(every)} distributions, {measure_size(every):,.0f} MB\n")
    print("| package | alone brings (MB) | distributions |\n|---|---|---|")
    for text in direct:
        own = every - find_closure(other for other in direct if other != text)
        print(f"| {Requirement(text).name} | {measure_size(own):,.0f} | {len(own)} |")
    plain = [text.replace("[default,", "[") for text in direct]
    own = every - find_closure(plain)
    print(f"| ray[default] beside ray[train,tune] | {measure_size(own):,.0f} | {len(own)} |")
    print("\n| extra | brings (MB) |\n|---|---|")
    for extra, wanted in extras.items():
        own = find_closure([*direct, *(text for text in wanted if not text.startswith("dps-tune"))]) - every
        print(f"| {extra} | {measure_size(own):,.0f} |")


if __name__ == "__main__":
    main()
