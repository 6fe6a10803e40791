"""What the basins of all stages are like: curvature, volume, and a plane through three of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.geometry.stages import (
    STAGES,
    Point,
    examples_of,
    over_all,
    point,
    points_of,
    stages_of,
)
from jaxticket.analysis import (
    basin_radii,
    basin_volume,
    curvature,
    grid_around,
    loss_over,
    on_grid,
    plane_through,
)
from jaxticket.keys import derive
from jaxticket.result import Result

MARGIN = 0.35
"""Beyond the three points of a plane, in their extent."""


def measured(problem: Any, result: Result) -> dict[str, Any]:
    """Measures curvature and volume of all stages at the examined levels, as one population.

    Args:
      problem: gives the objective, the examples and the plan.
      result: the networks.

    Returns:
      Variables over (stage, examined, replicate), NaN where a level has no such stage.
    """
    config, levels = problem.config, (0, *problem.config.examined)
    places = [
        (STAGES.index(stage), at, replicate)
        for at, level in enumerate(levels)
        for stage in stages_of(result, level)
        for replicate in range(result.replicates)
    ]
    points = points_of(problem, result, [(STAGES[s], levels[at], r) for s, at, r in places])
    key = derive(jax.random.key(config.seed), "geometry")
    found = over_all(problem, _instruments(problem), points, examples_of(problem), key)
    shape = len(STAGES), len(levels), result.replicates

    def laid(values: Any) -> np.ndarray:
        table = np.full((*shape, *np.shape(values)[1:]), np.nan)
        for place, value in zip(places, values, strict=True):
            table[place] = value
        return table

    ritz = curvature.ritz(found["lanczos"])
    top, errors = (of[:, 0] for of in curvature.top_eigenvalues(ritz, config.eigenvalues))
    # The grid is the dense network's where it is sharpest, so that all share it.
    width = config.width_of_density * float(np.nanmax(top))
    grid = curvature.density_grid(ritz, width, config.density_points)
    volume = basin_volume(found["radii"])
    dims = ("stage", "examined", "replicate")
    named = {
        "train_subset_loss": found["loss"],
        "trace": found["trace"].mean,
        "trace_error": found["trace"].standard_error,
        "sharpness": found["sharpness"],
        "dimension": volume.dimension,
        "median_log_radius": volume.median_log_radius,
        "mean_log_radius": volume.mean_log_radius,
        "log_volume": volume.log_volume,
        "effective_sample_size": volume.effective_sample_size,
        "volume_reliable": volume.reliable,
        "never_left": volume.never_left,
    }
    return {
        **{name: (dims, laid(values)) for name, values in named.items()},
        "eigenvalue": ((*dims, "place"), laid(top)),
        "eigenvalue_error": ((*dims, "place"), laid(errors)),
        "radius": ((*dims, "direction"), laid(found["radii"].radii)),
        "node": ((*dims, "start", "step_of_lanczos"), laid(ritz.values)),
        "node_weight": ((*dims, "start", "step_of_lanczos"), laid(ritz.weights)),
        "density_of_eigenvalues": (
            (*dims, "at"),
            laid(curvature.spectral_density(ritz, grid, width)),
        ),
        "at": ("at", grid),
        "stage": ("stage", list(STAGES)),
        "examined": ("examined", list(levels)),
        "examined_density": ("examined", result.densities()[list(levels)]),
    }


def _instruments(problem: Any) -> Any:
    """Makes the function of one network that all instruments are in."""
    config, objective = problem.config, problem.family({}).objective

    def one(network: Point, examples: Any, key: Any) -> dict[str, Any]:
        key = derive(key, network.replicate)
        loss = loss_over(objective, network.model_state, examples, key=derive(key, "dropout"))
        here = network.params, network.mask
        product = curvature.hessian_product(loss, *here)

        def start(index: Any) -> Any:
            return curvature.lanczos(
                product, *here, derive(key, "lanczos", index), config.lanczos_steps
            )

        starts = jnp.arange(config.starts, dtype=jnp.int32)
        options = {"directions": config.directions, "rise": config.rise}
        climbed = curvature.sharpness(
            loss, *here, derive(key, "sharpness"), radius=config.radius, steps=config.climbs
        )
        return {
            "loss": loss(network.params),
            "lanczos": jax.lax.map(start, starts),
            "trace": curvature.hutchinson(product, *here, derive(key, "trace"), config.probes),
            "sharpness": climbed.rise,
            "radii": basin_radii(loss, *here, derive(key, "volume"), **options),
        }

    return one


def plane(problem: Any, result: Result) -> dict[str, Any]:
    """Measures the loss in the plane through (trained, pruned, retrained) at the last level.

    Args:
      problem: gives the objective, the examples and the plan.
      result: the networks.

    Returns:
      `plane_loss` (replicate, row, column) with its axes, and `plane_points`.
    """
    config, objective = problem.config, problem.family({}).objective
    last = result.levels - 1
    replicates = range(result.replicates)
    trios = [
        (
            point(result, "ticket", last - 1, r),
            point(result, "pruned", last, r),
            point(result, "ticket", last, r),
        )
        for r in replicates
    ]

    def one(trio: Any, examples: Any, key: Any) -> Any:
        # Batch statistics are those of the retrained network everywhere.
        loss = loss_over(objective, trio[2].model_state, examples, key=key)
        through = plane_through(*(each.params for each in trio))
        axes = grid_around(through, config.grid, MARGIN)
        return on_grid(loss, through, *axes), axes, through.coordinates

    key = derive(jax.random.key(config.seed), "plane")
    losses, (columns, rows), points = over_all(problem, one, trios, examples_of(problem), key)
    return {
        "plane_loss": (("replicate", "row", "column"), losses),
        "plane_first": (("replicate", "column"), columns),
        "plane_second": (("replicate", "row"), rows),
        "plane_points": (("replicate", "point", "axis"), points),
        "point": ("point", ["trained", "pruned", "retrained"]),
    }
