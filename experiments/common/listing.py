"""Lists modules and what each is for, without importing any."""

import ast
from pathlib import Path


def questions(folder: Path) -> dict[str, str]:
    """Reads the first line of the docstring of every module in a folder.

    Args:
      folder: of a package; modules whose names begin with an underscore are left out, and packages
        that cannot be called.

    Returns:
      The line by module name, in the order of names; what has `PRESETS`, which makes it an
      experiment, before what has none.

    Example:
      >>> questions(Path(__file__).parent)["listing"]
      'Lists modules and what each is for, without importing any.'
    """
    files = {file.stem: file for file in folder.glob("[!_]*.py")}
    called = [main.parent for main in folder.glob("*/__main__.py")]
    files |= {package.name: package / "__init__.py" for package in called}
    trees = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in files.items()}
    names = sorted(trees, key=lambda name: (not _has_presets(trees[name]), name))
    return {name: (ast.get_docstring(trees[name]) or "").split("\n")[0] for name in names}


def listing(package: str, found: dict[str, str]) -> str:
    """Says how each module is called and what it is for.

    Args:
      package: the package's name.
      found: from `questions`.

    Returns:
      One line a module.

    Example:
      >>> print(listing("experiments", {"lenet": "Do tickets exist?", "report": "Writes."}))
      python -m experiments.lenet  Do tickets exist?
      python -m experiments.report Writes.
    """
    width = max(map(len, found), default=0)
    return "\n".join(f"python -m {package}.{name:<{width}} {found[name]}" for name in found)


def _has_presets(tree: ast.Module) -> bool:
    """Says whether a module has them, its own or from one of its parts."""
    names = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            names += [alias.name for alias in node.names]
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return "PRESETS" in names
