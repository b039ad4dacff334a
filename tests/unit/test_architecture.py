"""The product's source keeps to the layout: no circles, one way through the layers, Ray in one place."""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from benchmarks.structure import (
    MAX_LINES,
    PRODUCT,
    Function,
    Source,
    Sources,
    begins_with_preposition,
    count_imported_files,
    find_arrows,
    find_circles,
    find_docstrings,
    find_file,
    find_local_imports,
    find_public_functions,
    find_shortest_circle,
    is_one_word,
    read_sources,
)

ROOT = Path(__file__).parents[2]

# From the top down. A row may import the rows below it; neither those above, nor its neighbours in the row.
# Each entry is a folder or a file without its ending, and may import within itself.
LAYERS = (
    ("cluster",),
    ("tune/__init__",),
    ("tune/calls",),
    ("tune/search", "tune/compare"),
    ("tune/result", "tune/own_data"),
    ("tune/search_session", "tune/compare_session", "tune/joined_comparisons"),
    ("tune/report",),
    ("tune/suite_session",),
    ("tune/suite_report",),
    ("tune/session", "tune/search_report"),
    ("tune/startup",),
    ("tune/reporting", "tune/execution", "tune/console", "tune/tracking"),
    ("tune/planning",),
    ("tune/strategy",),
    ("tune/records",),
    ("tune/core", "tune/stats"),
    ("dps/__init__",),
    ("dps/predict", "dps/probing"),
    ("dps/training",),
    ("dps/methods", "dps/propose"),
    ("dps/attachment",),
    ("dps/data_checks",),
    ("dps/sources", "dps/models"),
    ("dps/tasks",),
    ("dps/command", "dps/depth", "dps/distributed", "dps/hub", "dps/yaml_text"),
    ("dps/coverage", "dps/errors", "dps/paths", "dps/ranges", "dps/selection", "dps/text"),
    ("dps/lazy", "dps/wording"),
)
KNOW_RAY = ("tune/execution/", "cluster/")
PRIVATE_RAY = "tune/execution/ray_private.py"
MAX_FILES = 16  # of a folder, its __init__ not counted
MANY_FILES = ("dps/methods",)  # a file a method
MAX_IMPORTS = 15  # product files that one file imports
MAX_LOCAL_IMPORTS = 5  # names of own modules that functions import
MAX_ONE_WORD = 0.25  # share of public functions whose name is one word
TUPLE_NAMES = {"_asdict", "_fields", "_make", "_replace"}  # public names of named tuples
RAY_TEXT = re.compile(r"ray(?:\.\w+)*\._\w+(?:\.\w+)*|_+RAY_\w+")  # a private path or variable, as text

Check = Callable[[Sources], list[str]]


def check_file_circles(sources: Sources) -> list[str]:
    """List the circles of files that import one another, wherever the imports stand."""
    graph = {
        path: {target: f"{path}:{line}" for target, line in arrows.items()}
        for path, arrows in find_arrows(sources).items()
    }
    return list(_describe_circles(graph, "files"))


def check_folder_circles(sources: Sources) -> list[str]:
    """List the circles of folders. Files directly in dps/, tune/ and cluster/ count one by one, and what the
    `__init__` of a folder imports from below that folder does not count."""
    graph: dict[str, dict[str, str]] = {}
    for path, arrows in find_arrows(sources).items():
        for target, line in arrows.items():
            room, other = _find_room(sources[path]), _find_room(sources[target])
            below = sources[path].is_init and target.startswith(f"{sources[path].folder}/")
            if room != other and not below:
                graph.setdefault(room, {})[other] = f"{path}:{line}"
    return list(_describe_circles(graph, "folders"))


def _find_room(source: Source) -> str:
    return source.path if source.folder in PRODUCT else source.folder


def _describe_circles(graph: Mapping[str, Mapping[str, str]], what: str) -> Iterator[str]:
    """Yield a line for each circle: one shortest way round, with a place for each step, and its members.
    graph: by what imports and what is imported, the place of such an import."""
    for group in find_circles(graph):
        ring = find_shortest_circle(graph, group)
        steps = [f"{graph[room][other]} imports {other}" for room, other in itertools.pairwise(ring)]
        yield f"{', '.join(steps)}: a circle among {len(group)} {what}: {', '.join(group)}"


def check_layers(sources: Sources) -> list[str]:
    """List the imports that go against LAYERS, and the files that stand in none of them."""
    homeless = [f"{path}:1 stands in no row of LAYERS" for path in sources if _find_layer(path) is None]
    wrong = []
    for path, arrows in find_arrows(sources).items():
        for target, line in arrows.items():
            here, there = _find_layer(path), _find_layer(target)
            if here and there and here != there and here[0] >= there[0]:
                where = "above" if here[0] > there[0] else "beside"
                wrong.append(f"{path}:{line} imports {target}: {there[1]} stands {where} {here[1]}")
    return homeless + wrong


def _find_layer(path: str) -> tuple[int, str] | None:
    """Return the row of a file, counted from the top, and the longest entry that covers it."""
    stem = path.removesuffix(".py")
    rows = [
        (len(entry), number, entry)
        for number, row in enumerate(LAYERS)
        for entry in row
        if stem == entry or stem.startswith(f"{entry}/")
    ]
    return max(rows)[1:] if rows else None


def check_ray(sources: Sources) -> list[str]:
    """List the imports of Ray outside KNOW_RAY, those that `import_module` makes included."""
    return [
        f"{source.path}:{line} imports {target}"
        for source in sources.values()
        if not source.path.startswith(KNOW_RAY)
        for line, target in [*_find_ray_imports(source), *_find_loaded(source)]
    ]


def _find_ray_imports(source: Source) -> list[tuple[int, str]]:
    return [(i.line, i.target) for i in source.imports if _is_of_ray(i.target)]


def _find_loaded(source: Source) -> Iterator[tuple[int, str]]:
    """Yield line and name of the modules of Ray that are imported by a call."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and re.search(r"\b(import_module|__import__)$", ast.unparse(node.func)):
            for given in node.args[:1]:
                if isinstance(given, ast.Constant) and _is_of_ray(str(given.value)):
                    yield node.lineno, str(given.value)


def _is_of_ray(target: str) -> bool:
    return target.partition(".")[0] == "ray"


def check_private_ray(sources: Sources) -> list[str]:
    """List the private names of Ray outside PRIVATE_RAY.

    Such a name is a part of an import path that begins with an underscore, or the same written as text; an
    attribute that begins with one, of what Ray gave or of a value that is not this file's own; and a method
    or attribute of a subclass of a class of Ray that the file never uses itself, so that Ray must.
    """
    subclasses = _find_ray_subclasses(sources)
    found = {
        (source.path, line, name)
        for source in sources.values()
        if source.path != PRIVATE_RAY
        for line, name in [
            *_find_private_paths(source),
            *_find_private_attributes(source),
            *_find_overrides(source, subclasses),
        ]
    }
    return [f"{path}:{line} uses {name}, a private name of Ray" for path, line, name in sorted(found)]


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name != "_" and name not in TUPLE_NAMES


def _find_private_paths(source: Source) -> Iterator[tuple[int, str]]:
    for line, target in _find_ray_imports(source):
        if any(map(_is_private, target.split("."))):
            yield line, target
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and RAY_TEXT.fullmatch(str(node.value)):
            yield node.lineno, str(node.value)


def _find_private_attributes(source: Source) -> Iterator[tuple[int, str]]:
    """Yield line and text of private attributes that a file did not define; none of a file without Ray."""
    ray_names = {i.name for i in source.imports if _is_of_ray(i.target)}
    if not ray_names and not source.path.startswith(KNOW_RAY):
        return
    libraries = {i.name for i in source.imports if i.target.partition(".")[0] not in (*PRODUCT, "ray")}
    own = _find_own_private_names(source)
    for node, owner, name in _find_accesses(source.tree):
        root = _find_root(owner)
        if _is_private(name) and root not in libraries and (root in ray_names or name not in own):
            yield node.lineno, ast.unparse(node)


def _find_accesses(tree: ast.Module) -> Iterator[tuple[ast.expr, ast.expr, str]]:
    """Yield every access to an attribute, those by `getattr` and its like included: node, owner, name."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute():
                yield node, node.value, node.attr
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr"),
                args=[owner, ast.Constant(value=str(name)), *_],
            ):
                yield node, owner, name


def _find_root(node: ast.expr) -> str:
    """Return the name that a chain of attributes, calls and items begins with."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _find_own_private_names(source: Source) -> set[str]:
    """Return the private names that a file defines: functions, classes, variables, attributes of self."""
    own = set()
    for node in ast.walk(source.tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                own.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                own.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                own.add(name)
    return {name for name in own if _is_private(name)}


def _find_overrides(source: Source, subclasses: set[tuple[str, str]]) -> Iterator[tuple[int, str]]:
    """Yield what Ray finds under a private name in its subclasses, or they in Ray's class through super()."""
    used = {name for _, owner, name in _find_accesses(source.tree) if ast.unparse(owner) != "super()"}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef) and (source.path, node.name) in subclasses:
            for line, name in _find_members(node):
                if _is_private(name) and name not in used:
                    yield line, f"{node.name}.{name}"
            for access, owner, name in _find_accesses(ast.Module([node], [])):
                if _is_private(name) and ast.unparse(owner) == "super()":
                    yield access.lineno, ast.unparse(access)


def _find_members(node: ast.ClassDef) -> Iterator[tuple[int, str]]:
    for member in node.body:
        if isinstance(member, Function):
            yield member.lineno, member.name
        elif isinstance(member, ast.Assign | ast.AnnAssign):
            targets = member.targets if isinstance(member, ast.Assign) else [member.target]
            yield from ((member.lineno, target.id) for target in targets if isinstance(target, ast.Name))


def _find_ray_subclasses(sources: Sources) -> set[tuple[str, str]]:
    """Return file and name of the classes that inherit from a class of Ray, over any number of own ones."""
    bases = {
        (source.path, node.name): {_resolve_class(sources, source, base) for base in node.bases}
        for source in sources.values()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {name for name, parents in bases.items() if ("ray", "") in parents}
    while more := {name for name, parents in bases.items() if parents & found} - found:
        found |= more
    return found


def _resolve_class(sources: Sources, source: Source, base: ast.expr) -> tuple[str, str]:
    """Return file and name of a base class; ("ray", "") for one of Ray's."""
    if isinstance(base, ast.Subscript):
        base = base.value
    root, _, rest = ast.unparse(base).partition(".")
    targets = [imported.target for imported in source.imports if imported.name == root]
    if any(map(_is_of_ray, targets)):
        return "ray", ""
    path = next(filter(None, (find_file(sources, target) for target in targets)), source.path)
    name = rest or (targets[0] if targets else root)
    return path, name.rpartition(".")[2]


def check_file_lengths(sources: Sources) -> list[str]:
    """List the files of more than MAX_LINES lines."""
    return [
        f"{source.path}:{MAX_LINES + 1} {source.lines} lines, but {MAX_LINES} at most"
        for source in sources.values()
        if source.lines > MAX_LINES
    ]


def check_folder_sizes(sources: Sources) -> list[str]:
    """List the folders, except MANY_FILES, that hold more than MAX_FILES files beside their `__init__`."""
    sizes = Counter(source.folder for source in sources.values() if not source.is_init)
    return [
        f"{folder}/__init__.py:1 {folder} holds {size} files, but may hold {MAX_FILES}"
        for folder, size in sizes.items()
        if size > MAX_FILES and folder not in MANY_FILES
    ]


def check_import_counts(sources: Sources) -> list[str]:
    """List the files that import more than MAX_IMPORTS files of the product."""
    counts = {source.path: count_imported_files(sources, source) for source in sources.values()}
    return [
        f"{path}:1 imports {count} of our files, but may import {MAX_IMPORTS}"
        for path, count in counts.items()
        if count > MAX_IMPORTS
    ]


def check_local_imports(sources: Sources) -> list[str]:
    """List the names of own modules that functions import, where there are more than MAX_LOCAL_IMPORTS."""
    found = [f"{path}:{i.line} imports {i.target} in a function" for path, i in find_local_imports(sources)]
    return found if len(found) > MAX_LOCAL_IMPORTS else []


def check_function_names(sources: Sources) -> list[str]:
    """List the public functions of one word, where their share is above MAX_ONE_WORD."""
    functions = find_public_functions(sources)
    found = [f"{path}:{f.lineno} {f.name} is one word" for path, f in functions if is_one_word(f.name)]
    return found if len(found) > MAX_ONE_WORD * len(functions) else []


def check_docstrings(sources: Sources) -> list[str]:
    """List the docstrings that begin with a preposition, those of modules included."""
    return [
        f"{path}:{line} begins with a preposition: {text.splitlines()[0]}"
        for path, line, text in find_docstrings(sources)
        if begins_with_preposition(text)
    ]


CHECKS: tuple[Check, ...] = (
    check_file_circles,
    check_folder_circles,
    check_layers,
    check_ray,
    check_private_ray,
    check_file_lengths,
    check_folder_sizes,
    check_import_counts,
    check_local_imports,
    check_function_names,
    check_docstrings,
)


@cache
def read_product() -> Sources:
    """Return the product's files."""
    return read_sources(ROOT)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_product_keeps_to_its_layout(check: Check) -> None:
    found = check(read_product())
    assert not found, "\n".join([f"{len(found)} violations", *found])


def test_the_whole_product_is_read() -> None:
    assert {path.split("/")[0] for path in read_product()} == set(PRODUCT)
    assert len(read_product()) > 100
    assert sum(len(source.imports) for source in read_product().values()) > 1000


def test_every_layer_is_there_and_stands_once() -> None:
    entries = [entry for row in LAYERS for entry in row]
    absent = [e for e in entries if not ((ROOT / e).is_dir() or (ROOT / f"{e}.py").is_file())]
    assert (absent, len(set(entries))) == ([], len(entries))


def read_tree(root: Path, files: Mapping[str, str]) -> Sources:
    """Write a small source tree and return its files as the checks read them."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return read_sources(root)


HEAD = "from __future__ import annotations\n"
TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
INSIDE = "def run_it():\n    "
CONTROLLER = "from ray.train.v2._internal.execution.controller import TrainController"
POLICY = "class Policy(ray.tune.Base):\n    "
INDIRECT = "from tune.execution.base import Base\nclass Slot(Base):\n    def _stop(self): ...\n"
PRIVATE_NAMES = {
    "import ray._private.worker": "ray._private.worker",
    CONTROLLER: "ray.train.v2._internal.execution.controller.TrainController",
    f"{INSIDE}from ray.data import _internal": "ray.data._internal",
    f"{TYPES}import ray._raylet": "ray._raylet",
    "import ray\nray._private.worker.show = print": "ray._private",
    "from ray.tune import state as kept\nkept._connect()": "kept._connect",
    "import ray\nray.get_context()._worker": "ray.get_context()._worker",
    "import ray\ngetattr(ray, '_private')": "getattr(ray, '_private')",
    "def on_add(self, controller):\n    controller._cache.grow()": "controller._cache",
    "class Mine:\n    def step(self):\n        self.controller._cache": "self.controller._cache",
    f"import ray\n{POLICY}def _send_request(self): ...": "Policy._send_request",
    f"import ray\n{POLICY}_retries = 3": "Policy._retries",
    f"import ray\n{POLICY}def step(self):\n        self._stopped": "self._stopped",
    f"import ray\n{POLICY}def _stop(self):\n        super()._stop()": "super()._stop",
    "PATH = 'ray._private.state'": "ray._private.state",
    "HOOK = '__RAY_HOOK_ENV_VAR'": "__RAY_HOOK_ENV_VAR",
}
OWN_NAMES = (
    "import ray\nray.__version__",
    f"import ray\n{POLICY}def step(self):\n        self._stop()\n    def _stop(self): ...",
    "import ray\nclass Mine:\n    def __init__(self):\n        self._at = 1\n    def at(self, o): o._at",
    "import ray, os\nos._exit(1)",
    "class Mine:\n    def _send_request(self): ...",
    "def describe(record):\n    record._replace(seed=1)",
)


@pytest.mark.parametrize("text", PRIVATE_NAMES)
@pytest.mark.parametrize("path", ["tune/execution/slots.py", "cluster/local.py"])
def test_a_private_name_of_ray_is_found(tmp_path: Path, path: str, text: str) -> None:
    found = check_private_ray(read_tree(tmp_path, {path: text}))
    assert any(
        re.fullmatch(rf"{path}:\d+ uses {re.escape(PRIVATE_NAMES[text])}, a private name of Ray", line)
        for line in found
    ), found


@pytest.mark.parametrize("text", PRIVATE_NAMES)
def test_one_file_may_use_private_names_of_ray(tmp_path: Path, text: str) -> None:
    assert check_private_ray(read_tree(tmp_path, {PRIVATE_RAY: text})) == []


@pytest.mark.parametrize("text", OWN_NAMES)
def test_a_private_name_of_our_own_may_be_used(tmp_path: Path, text: str) -> None:
    assert check_private_ray(read_tree(tmp_path, {"tune/execution/slots.py": text})) == []


def test_a_private_method_is_found_that_ray_calls_in_a_subclass_of_a_subclass(tmp_path: Path) -> None:
    base = "from ray.tune import Trainable\nclass Base(Trainable): ...\n"
    tree = {"tune/execution/base.py": base, "tune/execution/slots.py": INDIRECT}
    found = check_private_ray(read_tree(tmp_path, tree))
    assert found == ["tune/execution/slots.py:3 uses Slot._stop, a private name of Ray"]


CAUGHT: list[tuple[Check, dict[str, str], list[str]]] = [
    (
        check_file_circles,
        {"tune/core/a.py": "\nimport tune.core.b", "tune/core/b.py": f"{INSIDE}from tune.core import a"},
        ["tune/core/a.py:2 imports tune/core/b.py, tune/core/b.py:2 imports tune/core/a.py: a circle"],
    ),
    (
        check_file_circles,
        {
            "dps/a.py": "from dps.b import x",
            "dps/b.py": f"{TYPES}from dps.c import Y",
            "dps/c.py": "from . import a",
        },
        ["dps/a.py:1 imports dps/b.py, dps/b.py:3 imports dps/c.py, dps/c.py:1 imports dps/a.py: a circle"],
    ),
    (
        check_file_circles,
        {"dps/methods/__init__.py": "from dps.methods.x import X", "dps/methods/x.py": "import dps.methods"},
        ["dps/methods/__init__.py:1 imports dps/methods/x.py"],
    ),
    (
        check_folder_circles,
        {
            "tune/core/a.py": "import tune.records.a",
            "tune/records/b.py": f"{TYPES}from tune.core.b import B",
            "tune/core/b.py": "",
            "tune/records/a.py": "",
        },
        ["tune/core/a.py:1 imports tune/records, tune/records/b.py:3 imports tune/core: a circle among 2"],
    ),
    (
        check_folder_circles,
        {
            "tune/core/a.py": "import tune.session",
            "tune/session.py": f"{INSIDE}import tune.core.b",
            "tune/core/b.py": "",
        },
        ["tune/core/a.py:1 imports tune/session.py, tune/session.py:2 imports tune/core: a circle among 2"],
    ),
    (
        check_folder_circles,
        {
            "tune/core/__init__.py": "import tune.records.a",
            "tune/records/a.py": "import tune.core.b",
            "tune/core/b.py": "",
        },
        ["tune/core/__init__.py:1 imports tune/records, tune/records/a.py:1 imports tune/core"],
    ),
    (
        check_folder_circles,
        {
            "dps/sources/a.py": "import dps.sources.deep.b",
            "dps/sources/deep/b.py": "import dps.sources.base",
            "dps/sources/base.py": "",
        },
        ["dps/sources/a.py:1 imports dps/sources/deep, dps/sources/deep/b.py:1 imports dps/sources: a"],
    ),
    (
        check_layers,
        {"dps/tasks/a.py": f"\n{INSIDE}import tune.core.a", "tune/core/a.py": ""},
        ["dps/tasks/a.py:3 imports tune/core/a.py: tune/core stands above dps/tasks"],
    ),
    (
        check_layers,
        {"tune/session.py": f"{TYPES}from cluster import jobs", "cluster/jobs.py": ""},
        ["tune/session.py:3 imports cluster/jobs.py: cluster stands above tune/session"],
    ),
    (
        check_layers,
        {"tune/records/a.py": "from tune.strategy.b import c", "tune/strategy/b.py": ""},
        ["tune/records/a.py:1 imports tune/strategy/b.py: tune/strategy stands above tune/records"],
    ),
    (
        check_layers,
        {"tune/console/a.py": "import tune.tracking.b", "tune/tracking/b.py": ""},
        ["tune/console/a.py:1 imports tune/tracking/b.py: tune/tracking stands beside tune/console"],
    ),
    (check_layers, {"tune/place.py": ""}, ["tune/place.py:1 stands in no row of LAYERS"]),
    (check_ray, {"tune/search.py": f"{HEAD}import ray"}, ["tune/search.py:2 imports ray"]),
    (check_ray, {"tune/core/a.py": f"{INSIDE}import ray.tune as t"}, ["tune/core/a.py:2 imports ray.tune"]),
    (check_ray, {"dps/a.py": f"{TYPES}from ray import train"}, ["dps/a.py:3 imports ray.train"]),
    (check_ray, {"dps/a.py": "importlib.import_module('ray.tune')"}, ["dps/a.py:1 imports ray.tune"]),
    (
        check_file_lengths,
        {"dps/a.py": "\n" * (MAX_LINES + 1), "dps/b.py": "\n" * MAX_LINES},
        [f"dps/a.py:{MAX_LINES + 1} {MAX_LINES + 1} lines"],
    ),
    (
        check_folder_sizes,
        {f"tune/core/a{number}.py": "" for number in range(MAX_FILES + 1)},
        [f"tune/core/__init__.py:1 tune/core holds {MAX_FILES + 1} files"],
    ),
    (
        check_import_counts,
        {
            "dps/a.py": "".join(f"{INSIDE}import dps.b{number}\n" for number in range(MAX_IMPORTS + 1)),
            **{f"dps/b{number}.py": "" for number in range(MAX_IMPORTS + 1)},
        },
        [f"dps/a.py:1 imports {MAX_IMPORTS + 1} of our files"],
    ),
    (
        check_local_imports,
        {"dps/a.py": f"{INSIDE}from dps.b import {','.join('uvwxyz')}", "dps/b.py": ""},
        [f"dps/a.py:2 imports dps.b.{name} in a function" for name in "uvwxyz"],
    ),
    (
        check_function_names,
        {"dps/a.py": "def check(): ...\ndef run_it(): ...\nasync def probe(): ...\ndef _look(): ..."},
        ["dps/a.py:1 check is one word", "dps/a.py:3 probe is one word"],
    ),
    (
        check_docstrings,
        {"dps/a.py": "class A:\n 'Of life.'\n def f(self):\n  'To whom.'\n def g(self):\n  'Totals.'"},
        ["dps/a.py:2 begins with a preposition: Of life.", "dps/a.py:4 begins with a preposition: To whom."],
    ),
    (check_docstrings, {"dps/a.py": '"""For the slots."""'}, ["dps/a.py:1 begins with a preposition"]),
]


@pytest.mark.parametrize(
    ("check", "tree", "expected"), CAUGHT, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_violation_is_found(
    tmp_path: Path, check: Check, tree: dict[str, str], expected: list[str]
) -> None:
    found = check(read_tree(tmp_path, tree))
    assert len(found) == len(expected), found
    for line, beginning in zip(found, expected, strict=True):
        assert line.startswith(beginning)


def test_every_check_is_seen_to_find_something() -> None:
    assert {check for check, *_ in CAUGHT} | {check_private_ray} == set(CHECKS)


GOOD = {
    "cluster/local.py": "import ray\nfrom dps.errors import InputError\nimport tune.core.options",
    "tune/__init__.py": f"{INSIDE}from tune.session import start_session",
    "tune/session.py": '"""Runs a session."""\nfrom tune.execution.tuner import run_trials',
    "tune/search.py": "if __name__ == '__main__':\n    from tune import search\nimport tune.session",
    "tune/execution/tuner.py": "import ray.tune\nfrom tune.execution import ray_private",
    PRIVATE_RAY: "from ray._private.state import state\nstate._connect()",
    "tune/core/options.py": "import dps\nfrom dps.errors import InputError",
    "dps/__init__.py": "from dps.methods import METHODS\nfrom dps.errors import InputError",
    "dps/methods/__init__.py": "".join(f"import dps.methods.m{number}\n" for number in range(20)),
    **{f"dps/methods/m{number}.py": "from dps.attachment import base" for number in range(20)},
    "dps/attachment/base.py": "from dps.errors import InputError\ndef make_method(): ...",
    "dps/sources/__init__.py": f"{INSIDE}import dps.sources.deep.a",
    "dps/sources/deep/a.py": "from dps.sources import base\ndef load_rows(): 'Onwards'",
    "dps/sources/base.py": "def check(): ...\ndef a_b(): ...\ndef a_c(): ...\ndef a_d(): ...",
    "dps/errors.py": "from torch import ray\nimport rays",
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_good_tree_has_no_violation(tmp_path: Path, check: Check) -> None:
    assert check(read_tree(tmp_path, GOOD)) == []
