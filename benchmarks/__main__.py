"""Lists the benchmarks: `python -m benchmarks`."""

import ast
from pathlib import Path


def questions() -> dict[str, str]:
    """Reads the first line of every benchmark's docstring, without importing any.

    Returns:
      The question by module name.
    """
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    trees = {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    return {name: (ast.get_docstring(tree) or "").split("\n")[0] for name, tree in trees.items()}


if __name__ == "__main__":
    for name, question in questions().items():
        print(f"python -m benchmarks.{name:<10} {question}")
