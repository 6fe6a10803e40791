"""Networks that went wrong, and those of no use: listed for the summary, said to people."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray


def diverged_networks(results: xarray.Dataset) -> list[dict[str, Any]]:
    """Lists the networks whose loss was not finite, each once.

    Args:
      results: from `jaxticket.runs.to_dataset`.

    Returns:
      `arm`, `level`, `replicate` and `step` of each, and `variant` of a sweep.
    """
    return [
        name | {"step": int(results["diverged_step"].isel(here))}
        for name, here in _networks_where(results["diverged_step"] >= 0)
    ]


def useless_networks(results: xarray.Dataset) -> dict[str, list[dict[str, Any]]]:
    """Lists the networks of no use, each once.

    Args:
      results: from `jaxticket.runs.to_dataset`.

    Returns:
      `collapsed`: those that have lost a layer, and the `layers`; `untrained`: those whose test
      accuracy is not above chance; both by `arm`, `level`, `replicate`, and `variant` of a sweep.
    """
    collapsed = []
    if "empty_layers" in results:
        for name, here in _networks_where(results["empty_layers"] > 0):
            kept = results["kept"].isel(here)
            layers = kept["layer"].values[kept.values == 0]
            collapsed.append(name | {"layers": [str(layer) for layer in layers]})
    untrained = results.get("untrained")
    named = [] if untrained is None else _networks_where(untrained)
    return {"collapsed": collapsed, "untrained": [name for name, _ in named]}


def _networks_where(
    marked: xarray.DataArray,
) -> list[tuple[dict[str, Any], dict[Any, int]]]:
    """Gives name and place of marked networks; the dense one, which all arms share, once."""
    found = []
    for place in np.argwhere(marked.values).tolist():
        here = dict(zip(marked.dims, place, strict=True))
        if here["level"] == 0 and here["arm"] > 0:
            continue
        one = marked.isel(here)
        variant = {"variant": str(one["variant"].item())} if "variant" in marked.dims else {}
        name = {"arm": str(one["arm"].item()), "level": here["level"]}
        found.append((variant | name | {"replicate": here["replicate"]}, here))
    return found


def describe_useless(useless: dict[str, list[dict[str, Any]]], shown: int = 5) -> list[str]:
    """Says in a line each which networks have lost a layer, and which are no better than a guess.

    Args:
      useless: from `useless_networks`.
      shown: how many to name.

    Returns:
      The lines, none where there is no such network.

    Example:
      >>> one = {"arm": "ticket", "level": 9, "replicate": 0}
      >>> print(*describe_useless({"collapsed": [], "untrained": [one]}))
      1 network not above chance (exact binomial test, 5 %): ticket level 9 replicate 0
    """
    words = {
        "collapsed": "with a layer that has no weight left",
        "untrained": "not above chance (exact binomial test, 5 %)",
    }
    return [
        f"{len(networks)} network{'s' * (len(networks) > 1)} {words[kind]}: "
        f"{_listed(networks, shown, lambda network: '')}"
        for kind, networks in useless.items()
        if networks
    ]


def describe_diverged(networks: list[dict[str, Any]], shown: int = 5) -> str:
    """Says in one line which networks diverged.

    Args:
      networks: from `diverged_networks`.
      shown: how many to name.

    Returns:
      The line.

    Example:
      >>> describe_diverged([{"arm": "ticket", "level": 2, "replicate": 0, "step": 50}])
      'the loss of 1 network is not finite: ticket level 2 replicate 0 at step 50; the others \
went on, and these are left out of every mean; lower the learning rate'
    """
    names = _listed(networks, shown, lambda network: f" at step {network['step']}")
    count = f"{len(networks)} network{'s' if len(networks) > 1 else ''}"
    verb = "is" if len(networks) == 1 else "are"
    return (
        f"the loss of {count} {verb} not finite: {names}; the others went on, "
        "and these are left out of every mean; lower the learning rate"
    )


def _listed(
    networks: list[dict[str, Any]], shown: int, suffix: Callable[[dict[str, Any]], str]
) -> str:
    names = [
        f"{_prefix(n)}{n['arm']} level {n['level']} replicate {n['replicate']}{suffix(n)}"
        for n in networks[:shown]
    ]
    return ", ".join(names) + (f" and {len(networks) - shown} more" * (len(networks) > shown))


def _prefix(network: dict[str, Any]) -> str:
    return f"{network['variant']}: " if "variant" in network else ""
