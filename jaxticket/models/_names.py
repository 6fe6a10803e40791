"""Nested plain dicts with string keys, for leaves that NNX finds by attribute and index."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from jaxticket.errors import TicketError

Path = tuple[Any, ...]
"""Where NNX keeps a leaf: attributes, keys and indices."""

Name = tuple[str, ...]
"""Where our plain dicts keep it: strings alone, which JAX can sort."""


def string_names(paths: Iterable[Path]) -> dict[Path, Name]:
    """Names for `paths`: a list's indices padded to one length, so they sort as numbers.

    Raises:
      TicketError: two names are the same; all such are shown.

    >>> string_names([("layers", 0), ("layers", 10)])
    {('layers', 0): ('layers', '00'), ('layers', 10): ('layers', '10')}
    """
    paths = list(paths)
    digits: dict[Path, int] = {}
    for path in paths:
        for depth, part in enumerate(path):
            parent = path[:depth]
            digits[parent] = max(digits.get(parent, 0), len(str(part)) * isinstance(part, int))
    names = {
        path: tuple(
            str(part).zfill(digits[path[:depth]]) if isinstance(part, int) else str(part)
            for depth, part in enumerate(path)
        )
        for path in paths
    }
    given = Counter(names.values())
    clashes = ["/".join(name) for name, count in given.items() if count > 1]
    if clashes:
        raise TicketError(
            f"from_nnx: two leaves each are called {', '.join(clashes)}, their keys differing only "
            "in type, expected keys that differ as strings"
        )
    return names


def _flatten(tree: Any, path: Name = ()) -> dict[Name, Any]:
    if not isinstance(tree, Mapping):
        return {path: tree}
    return {
        name: leaf
        for part, branch in tree.items()
        for name, leaf in _flatten(branch, (*path, part)).items()
    }


def leaves_by_path(argument: str, tree: Any, names: dict[Path, Name]) -> dict[Path, Any]:
    """The leaves of a plain dict at the paths that `names` gives, none missing or unexpected.

    Args:
      argument: what the tree is called, for the error.
      tree: nested dicts.
      names: the name in `tree` of each path.

    Raises:
      TicketError: `tree` has another structure; all differences are shown.

    >>> leaves_by_path("params", {"layers": {"0": 5}}, {("layers", 0): ("layers", "0")})
    {('layers', 0): 5}
    """
    leaves = _flatten(tree)
    missing = set(names.values()) - set(leaves)
    unexpected = set(leaves) - set(names.values())
    if missing or unexpected:
        raise TicketError(
            f"apply: {argument} lacks {_listed(missing)} and has {_listed(unexpected)} besides, "
            "expected the structure that init returns"
        )
    return {path: leaves[name] for path, name in names.items()}


def _listed(names: Iterable[Name]) -> str:
    return ", ".join(sorted("/".join(map(str, name)) for name in names)) or "nothing"


def unflatten(leaves: Mapping[Name, Any]) -> dict[str, Any]:
    """The nested plain dict that has `leaves`.

    >>> unflatten({("a", "b"): 1, ("a", "c"): 2})
    {'a': {'b': 1, 'c': 2}}
    """
    tree: dict[str, Any] = {}
    for (*parents, last), leaf in leaves.items():
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = leaf
    return tree
