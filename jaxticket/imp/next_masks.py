"""What the masks of a level are made from, and how: of each network what its lineage prunes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxticket.allocate.base import Counts
from jaxticket.criteria.base import Evidence
from jaxticket.imp.setup import Setup, choose
from jaxticket.records import Origin, Record
from jaxticket.types import Mask


class Pruned(NamedTuple):
    """What the mask of one network of a ticket is made from.

    Attributes:
      evidence: what its criterion is given; `final` and `model_state` are those before pruning.
      mask: the mask of the level before.
      counts: what the level keeps.
      observed: what the criteria observed of the training before.
      pruner: of its lineage.
      hyperparameters: of its lineage.
      dense: params, model state and observations of the trained dense network; `()` if no lineage
        prunes at once.
      rewound: params and model state at the rewind step; `()` if no lineage prunes there.
      oneshot: whether its lineage prunes at once.
      at_start: whether its lineage prunes before training.
    """

    evidence: Evidence
    mask: Mask
    counts: Any
    observed: Any
    pruner: Any
    hyperparameters: Any
    dense: Any
    rewound: Any
    oneshot: Any
    at_start: Any


def gather_pruned(
    setup: Setup, origin: Origin, dense: Record, before: Record, level: int
) -> Pruned:
    """Collects along axis 0 what the masks of a level are made from.

    Args:
      setup: what was chosen.
      origin: of the group's tickets.
      dense: the networks of level 0.
      before: those of the level before.
      level: of the masks.

    Returns:
      What `prune_one` takes, with all lineages along axis 0.
    """
    lineages = setup.lineages
    at_once, at_start = lineages.oneshot.any(), lineages.at_start.any()
    evidence = Evidence(
        origin.initial,
        before.params,
        setup.level_keys("prune", level),
        model_state=before.model_state,
        examples=setup.scoring,
    )
    return Pruned(
        evidence=evidence,
        mask=before.masks,
        counts=lineages.counts(level),
        observed=before.observed,
        pruner=lineages.pruner,
        hyperparameters=lineages.hyperparameters,
        dense=(dense.params, dense.model_state, dense.observed) if at_once else (),
        rewound=(origin.rewound.params, origin.rewound.model_state) if at_start else (),
        oneshot=lineages.oneshot,
        at_start=lineages.at_start,
    )


def prune_one(setup: Setup) -> Callable[[Pruned], tuple[Mask, Counts]]:
    """Makes the pruning of one network.

    Args:
      setup: what was chosen.

    Returns:
      `one(network) -> (mask, lost)`: the mask made from what its lineage prunes, and how many
      scores of each leaf are not finite.
    """

    def one(network: Pruned) -> tuple[Mask, Counts]:
        evidence, mask, observed = network.evidence, network.mask, network.observed
        final = evidence.final, evidence.model_state
        if network.dense:
            final = choose(network.oneshot, network.dense[:2], final)
            observed = choose(network.oneshot, network.dense[2], observed)
        if network.rewound:
            final = choose(network.at_start, network.rewound, final)
        if network.dense or network.rewound:
            anew = network.oneshot | network.at_start
            mask = jax.tree.map(lambda kept: kept | anew, mask)
        evidence = evidence._replace(final=final[0], model_state=final[1])
        made, lost = setup.prune(
            network.pruner, network.hyperparameters, evidence, mask, network.counts, observed
        )
        # Of weights that are no numbers nobody expects a score.
        whole = _all_finite(final)
        return made, {path: jnp.where(whole, number, 0) for path, number in lost.items()}

    return one


def _all_finite(tree: Any) -> Bool[Array, ""]:
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in floats]))
