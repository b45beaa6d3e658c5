"""The house's import rules, as a table, proved on the source of every module.

To change a rule, change the table; a new module at the top of `gateway/` needs a line in it.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PURE = ("gateway.core", "gateway.errors")
INWARD = (*PURE, "gateway.ports")
FOUNDATIONS = ("gateway.http_protocol", "gateway.ids", "gateway.logs", "gateway.serving")
SHARES = "gateway.process.shares"
LATELY = "gateway.process.lately"
TOGETHER = "gateway.process.together"
OUTBOUND = "gateway.adapters.outbound"
ADAPTERS = (
    "gateway.adapters",  # the folder itself, which holds nothing
    "gateway.adapters.backup",
    "gateway.adapters.evolink",
    "gateway.adapters.ledger",
    "gateway.adapters.metrics",
    "gateway.adapters.openai_images",
    OUTBOUND,
    "gateway.adapters.own_files",
    "gateway.adapters.own_links",
    "gateway.adapters.pictures",
    "gateway.adapters.response_cache",
    "gateway.adapters.result_links",
    "gateway.adapters.tokens",
    "gateway.adapters.webhook_sender",
)
VENDORS = ("gateway.adapters.evolink", "gateway.adapters.openai_images")
"""The kinds of upstream: what all of them need to call one is in `OUTBOUND`."""

USE_CASES = ("gateway.services", "gateway.background", "gateway.process")

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # Layer: the layers that its modules may import, besides their own. The longest name that fits
    # a module is its layer. Everyone but the pure layers may read the version from `gateway`.
    "gateway.errors": (),
    "gateway.core": ("gateway.errors",),
    "gateway.ports": PURE,
    **dict.fromkeys(FOUNDATIONS, ()),
    "gateway.serving": ("gateway.http_protocol",),
    "gateway.config": PURE,
    SHARES: ("gateway.errors",),
    LATELY: (),
    TOGETHER: (),
    "gateway.process": (*INWARD, SHARES),
    "gateway.services": (*INWARD, "gateway.process", SHARES, LATELY, "gateway.ids"),
    "gateway.background": (*INWARD, "gateway.process", SHARES),
    **dict.fromkeys(ADAPTERS, (*INWARD, SHARES)),
    **dict.fromkeys(VENDORS, (*INWARD, SHARES, OUTBOUND)),
    "gateway.adapters.pictures": (*INWARD, SHARES, TOGETHER),
    "gateway.adapters.response_cache": (*INWARD, SHARES, LATELY, TOGETHER),
    "gateway.sandbox": FOUNDATIONS,
    "gateway.web": (*INWARD, SHARES, "gateway.config", "gateway.ids", "gateway.services"),
    "gateway.wiring": (
        *INWARD,
        *FOUNDATIONS,
        *USE_CASES,
        *ADAPTERS,
        SHARES,
        "gateway.config",
        "gateway.web",
    ),
    "gateway.cli": (
        *INWARD,
        *FOUNDATIONS,
        "gateway.config",
        "gateway.sandbox",
        "gateway.services",
        "gateway.web",
        "gateway.wiring",
    ),
    "gateway.__main__": ("gateway.cli",),
}

STANDARD_LIBRARY_ONLY = INWARD

ONE_HOME: dict[str, tuple[str, ...]] = {
    # Library: the only layers that may know it.
    "click": ("gateway.cli",),
    "diskcache": ("gateway.adapters.response_cache",),
    "standardwebhooks": ("gateway.adapters.webhook_sender",),
    "prometheus_client": ("gateway.adapters.metrics",),
    "rich": ("gateway.cli",),
    "sqlite3": ("gateway.adapters.response_cache", "gateway.adapters.ledger"),
    "tiktoken": ("gateway.adapters.tokens",),
    "yaml": ("gateway.cli", "gateway.config"),
}

# fmt: off
IMPURE_MODULES = (
    "asyncio", "concurrent", "http.client", "http.server", "io", "logging", "multiprocessing",
    "os", "pathlib", "random", "secrets", "select", "selectors", "shutil", "signal", "socket",
    "socketserver", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time",
    "urllib.request", "uuid",
)
# fmt: on
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval"})
CLOCK_METHODS = frozenset({"now", "utcnow", "today"})


@dataclass(frozen=True)
class Module:
    name: str
    path: Path

    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text("utf-8"), filename=str(self.path))


@dataclass(frozen=True)
class Import:
    target: str
    line: int


def gateway_modules() -> list[Module]:
    found = []
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found.append(Module(".".join(parts).removesuffix(".__init__"), path))
    return found


MODULES = gateway_modules()
NAMES = frozenset(module.name for module in MODULES)


def within(name: str, layer: str) -> bool:
    return name == layer or name.startswith(layer + ".")


def layer_of(name: str) -> str | None:
    fitting = [layer for layer in MAY_IMPORT if within(name, layer)]
    return max(fitting, key=len, default=None)


def imports(tree: ast.Module, importer: str, *, is_package: bool) -> Iterator[Import]:
    """Every import in the module, also those inside functions and for type checking only."""
    package = importer.split(".") if is_package else importer.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from gateway import cli` names a module, `... import __version__` does not.
                member = f"{origin}.{alias.name}"
                known = member in NAMES or member in MAY_IMPORT
                yield Import(member if known else origin, node.lineno)


def broken_import_rule(importer: str, target: str) -> str | None:
    """The rule that this import breaks, in words; None if it breaks none."""
    if importer == "gateway":
        return "the package itself imports nothing"
    layer = layer_of(importer)
    if layer is None:
        return None  # test_every_module_has_a_layer says so once, for the whole module
    top = target.partition(".")[0]
    if target == "gateway":
        return "a pure layer does not look at the package" if layer in PURE else None
    if top == "gateway":
        return broken_layer_rule(layer, target)
    if layer in STANDARD_LIBRARY_ONLY and top not in sys.stdlib_module_names:
        return f"{layer} imports the standard library only"
    homes = ONE_HOME.get(top, (layer,))
    return None if layer in homes else f"only {', '.join(homes)} may know {top}"


def broken_layer_rule(layer: str, target: str) -> str | None:
    if layer_of(target) in (layer, *MAY_IMPORT[layer]):
        return None
    others = ", ".join(MAY_IMPORT[layer]) or "no other layer"
    return f"{layer} may import {others}"


def impurities(tree: ast.Module, importer: str) -> Iterator[tuple[int, str]]:
    """What a pure module must not contain: lines and words."""
    for found in imports(tree, importer, is_package=False):
        if any(within(found.target, impure) for impure in IMPURE_MODULES):
            yield found.line, f"imports {found.target}"
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield node.lineno, "is asynchronous"
        elif isinstance(node, ast.Call):
            match node.func:
                case ast.Name(id=name) if name in IMPURE_CALLS:
                    yield node.lineno, f"calls {name}()"
                case ast.Attribute(attr=name) if name in CLOCK_METHODS:
                    yield node.lineno, f"reads the clock with {name}()"


def complaints(module: Module, tree: ast.Module) -> Iterator[str]:
    shown = module.path.relative_to(ROOT) if module.path.is_relative_to(ROOT) else module.path
    is_package = module.path.name == "__init__.py"
    for found in imports(tree, module.name, is_package=is_package):
        rule = broken_import_rule(module.name, found.target)
        if rule is not None:
            yield f"{shown}:{found.line}: imports {found.target}, but {rule}"
    if layer_of(module.name) in PURE:
        for line, what in impurities(tree, module.name):
            yield f"{shown}:{line}: {what}, but {layer_of(module.name)} is pure"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_module_keeps_the_rules(module: Module) -> None:
    found = list(complaints(module, module.tree()))
    assert not found, "\n" + "\n".join(found)


def test_every_module_has_a_layer() -> None:
    strays = [name for name in sorted(NAMES - {"gateway"}) if layer_of(name) is None]
    assert not strays, f"add to the table MAY_IMPORT: {', '.join(strays)}"


def test_rules_point_one_way() -> None:
    order = list(TopologicalSorter(MAY_IMPORT).static_order())  # a cycle raises CycleError
    assert order.index("gateway.errors") < order.index("gateway.core") < order.index("gateway.cli")


def test_adapters_and_packages_do_not_know_their_siblings() -> None:
    for adapter in ADAPTERS:
        known = set(MAY_IMPORT[adapter]) & {*ADAPTERS, *USE_CASES, "gateway.wiring"}
        assert known == ({OUTBOUND} if adapter in VENDORS else set())
    importers = [layer for layer, allowed in MAY_IMPORT.items() if set(allowed) & set(ADAPTERS)]
    assert set(importers) == {*VENDORS, "gateway.wiring"}


def test_no_import_goes_in_a_circle() -> None:
    known = {module.name: set[str]() for module in MODULES}
    for module in MODULES:
        is_package = module.path.name == "__init__.py"
        for found in imports(module.tree(), module.name, is_package=is_package):
            if found.target in known and found.target != module.name:
                known[module.name].add(found.target)
    list(TopologicalSorter(known).static_order())  # a circle raises CycleError


def test_a_class_name_has_one_meaning() -> None:
    """The sandbox may use the gateway's words: it knows nothing of it."""
    homes: dict[str, list[str]] = {}
    for module in MODULES:
        for node in module.tree().body if not within(module.name, "gateway.sandbox") else ():
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module.name)
    assert not {name: found for name, found in homes.items() if len(found) > 1}


BREACHES = [
    ("gateway.core.codec", "import httpx2", "gateway.core imports the standard library only"),
    ("gateway.core.codec", "from gateway import ports", "gateway.core may import gateway.errors"),
    ("gateway.core.codec", "from ..ports import Ledger", "may import gateway.errors"),
    ("gateway.core.codec", "from . import model", None),
    ("gateway.core.codec", "from gateway import __version__", "does not look at the package"),
    ("gateway.core.codec", "from os import environ", "imports os, but gateway.core is pure"),
    ("gateway.core.codec", "def f():\n    import logging", "codec.py:2: imports logging"),
    ("gateway.core.codec", "import urllib.parse, datetime, json", None),
    ("gateway.core.codec", "import urllib.request", "imports urllib.request"),
    ("gateway.core.codec", "async def f(): ...", "is asynchronous"),
    ("gateway.core.codec", "now = datetime.now(UTC)", "reads the clock with now()"),
    ("gateway.core.codec", "open('x')", "calls open()"),
    ("gateway.errors", "from gateway.core import model", "may import no other layer"),
    ("gateway.ports.ledger", "import asyncio", None),
    (
        "gateway.ports.ledger",
        "from gateway.services.orders import Service",
        "gateway.ports may import",
    ),
    (
        "gateway.adapters.ledger.sqlite",
        "from gateway.adapters.response_cache import Cache",
        "gateway.adapters.ledger may",
    ),
    ("gateway.adapters.ledger.sqlite", "from gateway.adapters.ledger.rows import job", None),
    ("gateway.adapters.ledger.sqlite", "import sqlite3", None),
    ("gateway.web.app", "import sqlite3", "may know sqlite3"),
    ("gateway.web.app", "import gateway.adapters.ledger.sqlite", "gateway.web may import"),
    ("gateway.services.orders", "from gateway.wiring import build", "gateway.services may"),
    ("gateway.background.runs", "from gateway.services.orders import Service", "background may"),
    ("gateway.adapters.evolink.client", "import gateway.sandbox.app", "evolink may"),
    ("gateway.adapters.evolink.client", "from gateway.adapters.outbound import said", None),
    (
        "gateway.adapters.openai_images.client",
        "from gateway.adapters.evolink.client import EvolinkClient",
        "openai_images may",
    ),
    ("gateway.sandbox.app", "from gateway.adapters.evolink import x", "sandbox may"),
    ("gateway.sandbox.app", "from gateway.serving import InProcessServer", None),
    ("gateway.wiring", "from gateway.adapters.ledger.sqlite import SqliteLedger", None),
    ("gateway.cli.serve", "from gateway.wiring import build", None),
    (
        "gateway.cli.serve",
        "from gateway.adapters.pictures.folder import Folder",
        "gateway.cli may import",
    ),
    ("gateway", "import gateway.cli", "the package itself imports nothing"),
]


@pytest.mark.parametrize(("importer", "source", "complaint"), BREACHES)
def test_checker_sees(importer: str, source: str, complaint: str | None) -> None:
    path = ROOT / (importer.replace(".", "/") + ".py")
    found = "\n".join(complaints(Module(importer, path), ast.parse(source)))
    assert complaint in found if complaint else not found
