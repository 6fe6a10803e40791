"""The arithmetic of training with each rule, which only RigL's dense gradients add to."""

from typing import Any

import numpy as np
import xarray
from rich import box
from rich.table import Table


def by_rule(config: Any, steps: int, density: np.ndarray) -> np.ndarray:
    """Gives what training would cost on kept weights alone: 1 + u (2 d + 1) / (3 d T).

    Args:
      config: gives the rules, and how often and until when masks change, u times in all.
      steps: T, of training.
      density: d, `float64[variants, levels]`.

    Returns:
      `float64[variants, levels]`, the static network's being 1.
    """
    # As `due` has it: after each `change_every` steps, before `change_until` of training.
    changes = (round(config.change_until * steps) - 1) // config.change_every
    paid = np.array([changes if rule == "rigl" else 0 for rule in config.rules])
    return 1 + paid[:, None] * (2 * density + 1) / (3 * density * steps)


def table(results: xarray.Dataset) -> Table:
    """Makes the table of what training costs, the static network's being 1.

    Args:
      results: with `arithmetic` (variant, level).

    Returns:
      A rich table.
    """
    made = Table(title="arithmetic of training, on kept weights alone", box=box.SIMPLE_HEAD)
    made.add_column("variant")
    for density in results["density"].values[0]:
        made.add_column(f"{density:.1%}", justify="right")
    for name in results["variant"].values:
        values = results["arithmetic"].sel(variant=name).values
        made.add_row(str(name), *(f"{value:.3f}" for value in values))
    return made
