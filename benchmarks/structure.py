"""Measure how the product's source is laid out: files, folders, functions, names, docstrings, imports.

    python benchmarks/structure.py                           # the checkout that this file lies in
    python benchmarks/structure.py --root ../base --root .   # two checkouts side by side
    python benchmarks/structure.py --list                    # list what is counted

Prints Markdown. Reads dps/, tune/ and cluster/ with `ast` and imports none of them. A column for one package
knows that package alone: its imports of the others are not counted there. What each figure counts stands in
the docstring of the function that computes it. `tests/unit/test_architecture.py` holds the limits.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("dps", "tune", "cluster")
MAX_LINES = 400  # lines of a file
PREPOSITION = re.compile(
    "(?:about|above|across|after|against|along|among|around|as|at|before|behind|below|beneath|besides?|between|"
    "beyond|by|despite|during|except|for|from|in|inside|into|like|of|off|on|onto|outside|over|per|since|"
    "through|throughout|till|to|towards?|under|unlike|until|upon|via|with|within|without)(?![\\w-])",
    re.IGNORECASE,
)

Function = ast.FunctionDef | ast.AsyncFunctionDef
Graph = Mapping[str, Iterable[str]]


@dataclass(frozen=True)
class Import:
    """One name that a file imports.

    target: dotted path of what is imported; name: what it is bound to; in_function: whether a function does
    it; for_types: whether it stands under TYPE_CHECKING.
    """

    target: str
    name: str
    line: int
    in_function: bool = False
    for_types: bool = False


@dataclass(frozen=True)
class Source:
    """One file. path: relative to the root, with slashes."""

    path: str
    text: str
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def lines(self) -> int:
        """Number of lines, blank ones and comments included."""
        return len(self.text.splitlines())

    @property
    def folder(self) -> str:
        """Path of the folder that holds the file."""
        return self.path.rpartition("/")[0]

    @property
    def stem(self) -> str:
        """File name without its ending."""
        return self.path.rpartition("/")[2].removesuffix(".py")

    @property
    def is_init(self) -> bool:
        """Tell whether the file is the `__init__` of its folder."""
        return self.stem == "__init__"


Sources = Mapping[str, Source]


def parse_source(path: str, text: str) -> Source:
    """Return the parsed file."""
    tree = ast.parse(text, path)
    collector = _ImportCollector(path)
    collector.visit(tree)
    return Source(path, text, tree, tuple(collector.imports))


def read_sources(root: Path, packages: Iterable[str] = PRODUCT) -> dict[str, Source]:
    """Return every Python file of the packages below a root, by its path."""
    files = [file for package in packages for file in sorted((root / package).rglob("*.py"))]
    paths = {file.relative_to(root).as_posix(): file for file in files}
    return {path: parse_source(path, file.read_text(encoding="utf-8")) for path, file in paths.items()}


class _ImportCollector(ast.NodeVisitor):
    """Collects the imports of a file, wherever they stand."""

    def __init__(self, path: str) -> None:
        self.imports: list[Import] = []
        self._package = path.split("/")[:-1]
        self._functions = 0
        self._type_blocks = 0

    def visit_FunctionDef(self, node: Function) -> None:
        self._functions += 1
        self.generic_visit(node)
        self._functions -= 1

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test).rpartition(".")[2] != "TYPE_CHECKING":
            self.generic_visit(node)
            return
        self._type_blocks += 1
        for statement in node.body:
            self.visit(statement)
        self._type_blocks -= 1
        for statement in node.orelse:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, alias.asname or alias.name.partition(".")[0], node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        parents = self._package[: len(self._package) - node.level + 1] if node.level else []
        base = ".".join([*parents, *filter(None, [node.module])])
        for alias in node.names:
            target = base if alias.name == "*" else f"{base}.{alias.name}"
            self._add(target, alias.asname or alias.name, node.lineno)

    def _add(self, target: str, name: str, line: int) -> None:
        self.imports.append(Import(target, name, line, self._functions > 0, self._type_blocks > 0))


def find_file(sources: Sources, target: str) -> str | None:
    """Return the product's file that a dotted path leads to: a module, or the `__init__` of a package."""
    parts = target.split(".")
    for length in range(len(parts), 0, -1):
        stem = "/".join(parts[:length])
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if path in sources:
                return path
    return None


def find_arrows(sources: Sources) -> dict[str, dict[str, int]]:
    """Return for each file the files that it imports, each with the line of its first import.

    Imports in functions and under TYPE_CHECKING count. A file that imports itself, as a command that hands
    over to its package does, has no arrow for it.
    """
    arrows: dict[str, dict[str, int]] = {}
    for source in sources.values():
        reached = arrows.setdefault(source.path, {})
        for imported in sorted(source.imports, key=lambda imported: imported.line):
            file = find_file(sources, imported.target)
            if file is not None and file != source.path:
                reached.setdefault(file, imported.line)
    return arrows


def find_circles(graph: Graph) -> list[list[str]]:
    """Return the groups of nodes that all lead to one another, the largest first."""
    reached = {node: _reach(graph, node) for node in graph}
    groups = {
        tuple(sorted(other for other in reached[node] if node in reached.get(other, ())))
        for node in graph
        if node in reached[node]
    }
    return [list(group) for group in sorted(groups, key=lambda group: (-len(group), group))]


def _reach(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = set(graph.get(waiting.pop(), ())) - reached
        reached |= new
        waiting += new
    return reached


def find_shortest_circle(graph: Graph, group: Iterable[str]) -> list[str]:
    """Return the nodes of one shortest way round within a group; the first is also the last."""
    members = set(group)
    rings = (_find_way_back(graph, start, members) for start in sorted(members))
    return min((ring for ring in rings if ring), key=len)


def _find_way_back(graph: Graph, start: str, members: set[str]) -> list[str]:
    ways = deque([[start]])
    seen: set[str] = set()
    while ways:
        way = ways.popleft()
        for node in sorted(set(graph.get(way[-1], ())) & members):
            if node == start:
                return [*way, node]
            if node not in seen:
                seen.add(node)
                ways.append([*way, node])
    return []


def count_imported_files(sources: Sources, source: Source) -> int:
    """Count the distinct product files that a file imports, at its head or in its functions.

    Leaves out imports under TYPE_CHECKING, other people's libraries, and what the `__init__` of a folder
    imports from that folder. A name taken from a package's `__init__` counts as that one file.
    """
    targets = [imported.target for imported in source.imports if not imported.for_types]
    files = {find_file(sources, target) for target in targets} - {None, source.path}
    own = f"{source.folder}/" if source.is_init else None
    return sum(own is None or not str(file).startswith(own) for file in files)


def find_local_imports(sources: Sources) -> list[tuple[str, Import]]:
    """Return the names that functions import from the product's own modules, each with its file."""
    every = ((source.path, imported) for source in sources.values() for imported in source.imports)
    return [
        (path, imported)
        for path, imported in every
        if imported.in_function and find_file(sources, imported.target) is not None
    ]


def measure_functions(sources: Sources) -> list[int]:
    """Return the length of every function and method, sorted: lines of `def` and body, less the docstring."""
    functions = (n for s in sources.values() for n in ast.walk(s.tree) if isinstance(n, Function))
    return sorted(_measure_function(function) for function in functions)


def _measure_function(function: Function) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    return _span(function) - (_span(first) if documented else 0)


def _span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def find_public_names(sources: Sources) -> list[tuple[str, Function | ast.ClassDef]]:
    """Return the public functions and classes of modules and the public methods of these classes."""
    found: list[tuple[str, Function | ast.ClassDef]] = []
    for source in sources.values():
        for node in _public(source.tree):
            found.append((source.path, node))
            if isinstance(node, ast.ClassDef):
                found += [(source.path, method) for method in _public(node)]
    return found


def _public(owner: ast.Module | ast.ClassDef) -> list[Function | ast.ClassDef]:
    definitions = [node for node in owner.body if isinstance(node, Function | ast.ClassDef)]
    return [node for node in definitions if not node.name.startswith("_")]


def find_public_functions(sources: Sources) -> list[tuple[str, Function]]:
    """Return the public functions of modules, no methods, each with its file."""
    every = ((source.path, node) for source in sources.values() for node in _public(source.tree))
    return [(path, node) for path, node in every if isinstance(node, Function)]


def is_one_word(name: str) -> bool:
    """Return whether a name is a single word: it has no underscore."""
    return "_" not in name


def find_docstrings(sources: Sources, modules: bool = True) -> list[tuple[str, int, str]]:
    """Return file, line and text of the docstrings of functions, classes and, unless left out, modules."""
    kinds = Function | ast.ClassDef | (ast.Module if modules else ast.ClassDef)
    found = []
    for source in sources.values():
        for node in ast.walk(source.tree):
            if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                found.append((source.path, node.body[0].lineno, text))
    return sorted(found)


def begins_with_preposition(docstring: str) -> bool:
    """Return whether the first word of a docstring is a preposition."""
    return PREPOSITION.match(docstring) is not None


def compute_figures(sources: Sources) -> dict[str, str]:
    """Return the figures of these files, by what they are called."""
    files = list(sources.values())
    folders = Counter(source.folder for source in files)
    large = [source.lines for source in files if source.lines > MAX_LINES]
    lengths = measure_functions(sources)
    middle = statistics.median(lengths)
    return {
        "files / lines": f"{len(files)} / {sum(source.lines for source in files):,}",
        f"files over {MAX_LINES} lines / their lines": f"{len(large)} / {sum(large):,}",
        "files a folder, median / max": f"{statistics.median(folders.values()):g} / {max(folders.values())}",
        "function length, median / p90 / max": f"{middle:g} / {_pick(lengths, 0.9)} / {lengths[-1]}",
        **_compute_name_figures(sources),
        **_compute_import_figures(sources),
    }


def _compute_name_figures(sources: Sources) -> dict[str, str]:
    public = [ast.get_docstring(node) is not None for _, node in find_public_names(sources)]
    functions = [is_one_word(node.name) for _, node in find_public_functions(sources)]
    stems = [is_one_word(source.stem) for source in sources.values() if not source.stem.startswith("__")]
    texts = [begins_with_preposition(text) for *_, text in find_docstrings(sources, modules=False)]
    return {
        "public names with a docstring": _share(public),
        "public module functions of one word": _share(functions),
        "file names of one word (without `__init__`, `__main__`)": _share(stems),
        "docstrings that begin with a preposition (without modules')": _share(texts),
    }


def _compute_import_figures(sources: Sources) -> dict[str, str]:
    counts = {source.path: count_imported_files(sources, source) for source in sources.values()}
    most = max(counts, key=lambda path: counts[path])
    arrows = find_arrows(sources)
    circles = [len(group) for group in find_circles(arrows)]
    return {
        "most imports of one file": f"{counts[most]} ({most})",
        "function-local imports of own modules": str(len(find_local_imports(sources))),
        "arrows between files": str(sum(map(len, arrows.values()))),
        "files in import circles / in the largest": f"{sum(circles)} / {max(circles, default=0)}",
    }


def _pick(ordered: list[int], share: float) -> int:
    return ordered[int(share * (len(ordered) - 1))]


def _share(flags: list[bool]) -> str:
    return f"{100 * sum(flags) / max(1, len(flags)):.1f} % ({sum(flags)} of {len(flags)})"


def take_package(sources: Sources, package: str) -> Sources:
    """Return the files of one package."""
    return {path: source for path, source in sources.items() if path.startswith(f"{package}/")}


def make_table(roots: list[Path]) -> str:
    """Return a Markdown table with four columns a root: all, and each package."""
    columns: dict[str, dict[str, str]] = {}
    for root in roots:
        sources = read_sources(root)
        name = f"{root.name}: " if len(roots) > 1 else ""
        columns[f"{name}all"] = compute_figures(sources)
        for package in PRODUCT:
            columns[f"{name}{package}"] = compute_figures(take_package(sources, package))
    titles = next(iter(columns.values()))
    rows = [[title, *(figures[title] for figures in columns.values())] for title in titles]
    head = [["", *columns], ["---"] * (len(columns) + 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows])


def make_lists(root: Path) -> Iterator[str]:
    """Yield the lines that name what the figures of a checkout count, with file and line."""
    sources = read_sources(root)
    yield "\n## Docstrings that begin with a preposition\n"
    for path, line, text in find_docstrings(sources):
        if begins_with_preposition(text):
            yield f"- {path}:{line} {text.splitlines()[0]}"
    yield "\n## Public functions of one word\n"
    for path, function in find_public_functions(sources):
        if is_one_word(function.name):
            yield f"- {path}:{function.lineno} {function.name}"
    yield "\n## Function-local imports of own modules\n"
    for path, imported in find_local_imports(sources):
        yield f"- {path}:{imported.line} {imported.target}"
    yield "\n## Import circles\n"
    for group in find_circles(find_arrows(sources)):
        yield f"- {len(group)} files: {', '.join(group)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, action="append", help="a checkout; repeat it to compare several")
    parser.add_argument("--list", action="store_true", help="list what the last checkout counts")
    options = parser.parse_args()
    roots = [root.resolve() for root in options.root or [ROOT]]
    if absent := [root for root in roots if not read_sources(root)]:
        parser.error(f"--root {absent[0]}: there is no Python file in {', '.join(PRODUCT)} below it")
    print(make_table(roots))
    if options.list:
        print("\n".join(make_lists(roots[-1])))


if __name__ == "__main__":
    main()
