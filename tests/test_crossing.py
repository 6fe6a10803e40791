"""Laws of crossed axes: a sweep's search is the single one to the bit, from the command line on."""

import io

import cases
import numpy as np
import pytest
from rich.console import Console

from experiments import lenet
from experiments.common.crossing import crossed
from jaxticket import rewind, runs
from jaxticket.imp import Variant

SMALL = "--preset smoke --plan map --steps 6it --evaluate-every 3it --levels 3 --width 0.1"
ARMS = ("ticket", "oneshot")
SWEPT = "--weight-decays 0 0.05 --prune-rates 0.2 0.5"
SINGLE = {
    "weight decay 0.05, prune rate 0.5": "--weight-decay 0.05 --prune-rate 0.5 "
    "--output-prune-rate 0.25",
    "weight decay 0, prune rate 0.5": "--prune-rate 0.5 --output-prune-rate 0.25",
}


def found(path, words):
    """The run of a command line."""
    given = [*f"{SMALL} {words} --arms {' '.join(ARMS)}".split(), "--out", str(path)]
    assert lenet.main(given, Console(file=io.StringIO())) == 0
    return runs.load(path)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return found(tmp_path_factory.mktemp("swept") / "run", SWEPT)


@pytest.mark.parametrize("name", cases.slow_but("weight decay 0.05, prune rate 0.5", SINGLE))
def test_weight_decays_and_prune_rates_are_the_single_runs_to_the_bit(name, swept, tmp_path):
    alone = found(tmp_path / "run", SINGLE[name])
    for arm, level, replicate in [("ticket", 0, 1), ("ticket", 2, 1), ("oneshot", 2, 0)]:
        one = alone.network(arm, level, replicate)
        other = swept.network(arm, level, replicate, name)
        cases.assert_same_bits((one.mask, one.params), (other.mask, other.params))
    ours, theirs = (run.results["test_accuracy"] for run in (swept, alone))
    np.testing.assert_array_equal(ours.sel(variant=name).values, theirs.values)


def test_each_axis_of_that_sweep_changes_its_own_part(swept):
    assert set(SINGLE) < set(swept.results["variant"].values.tolist())
    assert swept.results.sizes["variant"] == 4
    densities = swept.results["density"].sel(level=1)
    np.testing.assert_allclose(
        [float(densities.sel(variant=f"weight decay 0, prune rate {r}")) for r in (0.2, 0.5)],
        [0.8, 0.5],
        atol=0.02,
    )
    names = [f"weight decay {decay}, prune rate 0.2" for decay in (0, 0.05)]
    decayed = [swept.network("ticket", 0, 0, name).params for name in names]
    assert not np.array_equal(*(one["output"]["kernel"] for one in decayed))


def test_crossed_axes_are_every_choice_of_one_value_each():
    rates = {f"rate {rate}": Variant({"learning_rate": rate}) for rate in (0.1, 0.2)}
    decays = {f"decay {decay}": Variant({"weight_decay": decay}) for decay in (0.0, 0.3)}
    steps = {f"k = {k}": Variant(rewind_step=k, action=rewind.reinit) for k in (0, 5)}
    made = crossed(rates, {}, decays, steps)
    assert made is not None
    assert list(made)[:2] == ["rate 0.1, decay 0.0, k = 0", "rate 0.1, decay 0.0, k = 5"]
    for rate, decay, k in ((r, d, k) for r in (0.1, 0.2) for d in (0.0, 0.3) for k in (0, 5)):
        one = made.pop(f"rate {rate}, decay {decay}, k = {k}")
        assert one.hyperparameters == {"learning_rate": rate, "weight_decay": decay}
        assert (one.rewind_step, one.action, one.pruning) == (k, rewind.reinit, None)
    assert made == {}
    assert crossed({}, {}) is None
    alone = crossed(steps, {})
    assert alone is not None
    assert alone["k = 5"].hyperparameters is None
