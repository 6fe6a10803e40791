"""The account of a run, drawn up from its ledger."""

from typing import NamedTuple

from jaxticket.costs.ledger import PHASES, Ledger
from jaxticket.costs.machine import peak_memory


class Costs(NamedTuple):
    """What a run, or one start of a run that was resumed, has cost.

    Attributes:
      seconds: by phase.
      networks: trained to the end.
      network_steps: training steps, one for each network.
      network_steps_a_second: while training, compilation and evaluation not counted.
      networks_an_hour: of the whole time.
      flops_a_step: floating point operations of one step of one network, by XLA's analysis.
      flops_a_second: while training.
      share_of_limit: of the rate at which this machine multiplies matrices, measured in the run.
      peak_memory_bytes: the most that the process held; on an accelerator, that a device held.
      notes: what people should know of how the run was carried out.
    """

    seconds: dict[str, float]
    networks: int
    network_steps: int
    network_steps_a_second: float | None
    networks_an_hour: float | None
    flops_a_step: float | None
    flops_a_second: float | None
    share_of_limit: float | None
    peak_memory_bytes: int | None
    notes: tuple[str, ...]


def account(ledger: Ledger, limit: float | None = None) -> Costs:
    """Draws up the account of a ledger.

    Args:
      ledger: after the run.
      limit: floating point operations a second that the machine can do, from `matrix_rate`.

    Returns:
      The costs.

    Example:
      >>> ledger = Ledger()
      >>> ledger.seconds, ledger.network_steps, ledger.networks = {"train": 2.0}, 100, 4
      >>> costs = account(ledger)
      >>> costs.network_steps_a_second, costs.networks_an_hour
      (50.0, 7200.0)
    """
    training, whole = ledger.seconds.get("train", 0.0), sum(ledger.seconds.values())
    speed = ledger.network_steps / training if training > 0 and ledger.network_steps else None
    flops = speed * ledger.flops_a_step if speed and ledger.flops_a_step else None
    return Costs(
        seconds={name: ledger.seconds[name] for name in PHASES if name in ledger.seconds},
        networks=ledger.networks,
        network_steps=ledger.network_steps,
        network_steps_a_second=speed,
        networks_an_hour=3600 * ledger.networks / whole if whole > 0 else None,
        flops_a_step=ledger.flops_a_step,
        flops_a_second=flops,
        share_of_limit=flops / limit if flops and limit else None,
        peak_memory_bytes=peak_memory(),
        notes=tuple(ledger.notes),
    )
