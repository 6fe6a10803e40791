"""What a recipe is: every number that a paper states of a training and of its pruning."""

import dataclasses

from jaxticket.recipes.step import Step


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is made, trained and pruned; the text under each field is its help.

    A configuration of an experiment inherits from it and adds how much of it is run.

    Example:
      >>> Recipe(model="conv_2", learning_rate=2e-4, steps=Step.parse("20000it")).batch_size
      60
    """

    model: str = "lenet_300_100"
    """Network: lenet_300_100, deep_mlp, mlp_7, linear_mlp_7, lenet_5, conv_2, conv_4, conv_6,
    resnet_18, resnet_20, resnet_32, resnet_56, vgg_11, vgg_16, vgg_19 or
    vision_transformer_tiny."""
    width: float = 1.0
    """Multiplier of the width of all hidden layers."""
    dropout: float = 0.0
    """Share of the units in hidden dense layers that training drops; resnet and vgg have no
    dropout."""
    initializer: str | None = None
    """Initializer of the kernels: glorot_normal, glorot_uniform, glorot_gaussian, kaiming_normal,
    kaiming_uniform, kaiming_gaussian, lecun_normal, lecun_uniform or orthogonal; None keeps the
    network's own."""
    inputs: str = "standardized"
    """How pixels enter: standardized (by the training pixels) or unit_interval."""
    augment: tuple[str, ...] = ()
    """Augmentations in their order, such as flip crop=4."""
    label_smoothing: float = 0.0
    """Share of the label that goes to all classes, in training and in validation losses."""
    steps: Step = Step.iterations(600)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    batch_size: int = 60
    """Examples a step."""
    optimizer: str = "adam"
    """adam, adamw, sgd, momentum, nesterov or rmsprop."""
    learning_rate: float = 2e-3
    """Learning rate, before warm-up and schedule."""
    momentum: float = 0.9
    """Of momentum and nesterov; the others have none."""
    weight_decay: float = 0.0
    """Added to the gradient times the weights (L2); decoupled for adamw."""
    schedule: str = "constant"
    """Of the learning rate: constant, step (at the drops) or cosine (to zero at the end)."""
    drops: tuple[Step, ...] = ()
    """When the learning rate drops under the step schedule, such as 80ep 120ep."""
    drop_factor: float = 0.1
    """What a drop multiplies the learning rate by."""
    warmup: Step = Step.iterations(0)  # noqa: RUF009
    """Linear rise of the learning rate from zero, multiplied into the schedule."""
    gradient_clip: float | None = None
    """Largest global norm of a gradient; any if None."""
    scope: str = "layerwise"
    """Where weights compete: layerwise or global; or how layers share what is kept: uniform,
    erdos_renyi, erdos_renyi_kernel, layerwise_adaptive or smart_ratio; or per_output, among those
    that lead to the same unit; or multiplications, in the whole network until the rest costs as
    many of them as it may."""
    prune_rate: float = 0.2
    """Share of the remaining weights that goes at each level: of dense layers, and of
    convolutions without a rate of their own; of the whole network under any other scope."""
    convolution_prune_rate: float | None = None
    """The same for convolutions, shortcuts included; prune_rate if None."""
    output_prune_rate: float = 0.1
    """The same for the output layer, and 0 keeps it dense; under any other scope than
    layerwise any other value lets it take part like all layers."""
    rewind_step: Step = Step.iterations(0)  # noqa: RUF009
    """Training step that tickets go back to."""
