"""The import graph as it would be without façades.

A package's `__init__.py` names what others may use, so `from fsb_gateway import Context` would tie a pure module to all
that the package imports. Here such an import counts as one of the module that defines the name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grimp

from tests.architecture.source import PACKAGES, iter_modules, module_name, parse, relative


@dataclass(frozen=True, slots=True)
class _Name:
    """A name somewhere: `module` has it or hands it on, and calls it `name`."""

    module: str
    name: str


_Facades = Mapping[str, Mapping[str, _Name]]


def build_graph() -> grimp.ImportGraph:
    """Modules of the product and what they import, other distributions included; façades are looked through."""
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)
    paths = {module_name(relative(path)): path for path in iter_modules()}
    facades = {
        module: dict(_from_imports(path)) for module, path in paths.items() if path.name == "__init__.py"
    }
    for importer in paths.keys() - facades.keys():
        for _, imported in _from_imports(paths[importer]):
            if imported.module in facades:
                _redirect(graph, importer, imported, facades)
    return graph


def _redirect(graph: grimp.ImportGraph, importer: str, imported: _Name, facades: _Facades) -> None:
    """Let an import from a façade be one from where the name is defined."""
    if graph.direct_import_exists(importer=importer, imported=imported.module):
        graph.remove_import(importer=importer, imported=imported.module)
    while imported.name in facades.get(imported.module, {}):
        imported = facades[imported.module][imported.name]
    below = f"{imported.module}.{imported.name}"
    origin = below if below in graph.modules else imported.module
    if origin in graph.modules and origin != importer:
        graph.add_import(importer=importer, imported=origin)


def _from_imports(path: Path) -> Iterator[tuple[str, _Name]]:
    """The names that `from … import` gives a file, and where they come from."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                yield alias.asname or alias.name, _Name(node.module, alias.name)
