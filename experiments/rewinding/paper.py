"""What is published of stability and rewinding, beside which a run's own numbers stand."""

from typing import NamedTuple


class Paper(NamedTuple):
    """What the paper says of a network on CIFAR-10, by others' account of it.

    Attributes:
      unstable: of dense networks from step 0 on.
      dense: when dense networks become stable.
      ticket: when tickets do.
      matching: how sparse tickets match the dense network.
      alone: at which densities only they do.
      first: of tickets of step 0.
    """

    unstable: str
    dense: str
    ticket: str
    matching: str
    alone: str
    first: str = "no matching tickets"

    def of(self, network: str) -> "Paper":
        """Names the network of the numbers, and that they were not read in the paper."""
        return Paper(*(f"{words}; {network} on CIFAR-10, unverified" for words in self))


PAPER = {
    "resnet": Paper(
        "error as by chance",
        "from step 2,000 of 63,000 on (3 %)",
        "from step 500 on",
        "down to 13.4 % of the weights",
        "random masks match above 80 %, only tickets from there to 13.4 %",
        "no better than reinit",
    ).of("ResNet-20"),
    "vgg": Paper(
        "error as by chance",
        "from step 1,000 of 63,000 on (1.5 %)",
        "from step 1,000 on",
        "down to 1.2 % of the weights",
        "random masks match above 16.8 %, only tickets from there to 1.2 %",
    ).of("VGG-16"),
}
"""Sections 3 and 4 of the paper, by the kind of network."""
