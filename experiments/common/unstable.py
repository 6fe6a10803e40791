"""A setting that two cores train in seconds and in which dense training is unstable at step 0."""

import dataclasses

from experiments.common.configuration import Configuration
from jaxticket.recipes import Step


@dataclasses.dataclass(frozen=True)
class Unstable(Configuration):
    """A deep and narrow network at a high rate, without which nothing is shown of stability."""

    model: str = "deep_mlp"
    """Network; a name from jaxticket.models."""
    levels: int = 3
    """Levels, the dense one included."""
    steps: Step = Step.iterations(1_000)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    batch_size: int = 32
    """Examples a step."""
    evaluate_every: Step = Step.iterations(250)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    augment: tuple[str, ...] = ("flip",)
    """Augmentations in their order, such as flip crop=4."""
    optimizer: str = "momentum"
    """adam, adamw, sgd, momentum, nesterov or rmsprop."""
    learning_rate: float = 0.2
    """Learning rate, before warm-up and schedule."""
    weight_decay: float = 1e-3
    """Added to the gradient times the weights (L2); decoupled for adamw."""
    schedule: str = "step"
    """Of the learning rate: constant, step (at the drops) or cosine (to zero at the end)."""
    drops: tuple[Step, ...] = (Step.iterations(650), Step.iterations(880))
    """When the learning rate drops under the step schedule, such as 80ep 120ep."""
    scope: str = "global"
    """Where weights compete: layerwise or global."""
    prune_rate: float = 0.8
    """Share of the remaining weights that goes at each level."""
