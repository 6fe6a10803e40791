"""Iterative pruning against a plain NumPy one, level by level and arm by arm.

The networks are linear: logits = left x_1 + right x_2 + bias, the two kernels prunable. Under
the perceptron loss with dyadic data, weights and rates all arithmetic is exact in float32, so
that masks and weights must agree to the last bit, many tied magnitudes included. Under softmax
with momentum they must agree to rounding.
"""

import functools
from fractions import Fraction
from typing import Any, NamedTuple

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxticket import Examples, Model, Plan, Protocol, allocate, find_tickets, learners, masks
from jaxticket.keys import derive

STEPS, BATCH, LEVELS, REPLICATES = 20, 4, 5, 2
ROOT = jax.random.key(7)
LEFT, INPUTS, CLASSES = 8, 12, 3
KERNELS = ("left", "right")
RATE = 0.125


class Setting(NamedTuple):
    """One search."""

    loss: str
    scope: str
    rewind_step: int
    momentum: float
    rewind_moments: bool
    arms: tuple[str, ...]


DEFAULT = ("ticket", "reinit", "shuffle", "shuffle_reinit", "oneshot")
SETTINGS = {
    "exact_layerwise": Setting("perceptron", "layerwise", 0, 0.0, False, DEFAULT),
    "exact_global_rewound": Setting("perceptron", "global", 7, 0.0, False, DEFAULT),
    "softmax_global_rewound": Setting("softmax", "global", 7, 0.75, True, tuple(cases.ARMS)),
}
RATES = {"left": "1/4", "right": "1/5", "global": "1/4"}


# The oracle: NumPy alone, written from the definitions and not from the library.


class Oracle(NamedTuple):
    setting: Setting
    images: np.ndarray
    labels: np.ndarray
    order: Any  # (replicate, level, epoch, purpose) -> permutation

    def gradients(self, w, chosen):
        x, y = self.images[chosen], self.labels[chosen]
        logits = x[:, :LEFT] @ w["left"] + x[:, LEFT:] @ w["right"] + w["bias"]
        if self.setting.loss == "perceptron":
            blame = np.eye(CLASSES)[logits.argmax(axis=1)]
        else:
            blame = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        error = (blame - np.eye(CLASSES)[y]) / len(chosen)
        return {
            "left": x[:, :LEFT].T @ error,
            "right": x[:, LEFT:].T @ error,
            "bias": error.sum(axis=0),
        }

    def train(
        self, w, mask, velocity, replicate, level, first, snapshot=None, held=None, purpose="train"
    ):
        """Trains from step `first`; gives the end, and weights and velocity at a snapshot."""
        keep = {"bias": 1, **mask}
        w = {name: w[name] * keep[name] for name in w}
        velocity = {name: velocity[name] * keep[name] for name in w}
        kept, an_epoch = None, len(self.labels) // BATCH
        for step in range(first, STEPS):
            if step == snapshot:
                kept = (w, velocity)
            epoch, place = divmod(step, an_epoch)
            order = self.order(replicate, level, epoch, purpose)
            chosen = order[place * BATCH : (place + 1) * BATCH]
            used = {n: w[n] + held[n] if held and n in held else w[n] for n in w}
            g = self.gradients(used, chosen)
            velocity = {n: self.setting.momentum * velocity[n] + g[n] * keep[n] for n in w}
            w = {name: w[name] - RATE * velocity[name] for name in w}
        return w, kept

    def prune(self, w, mask, counts):
        """Keeps the largest magnitudes among what the mask keeps; ties go to the first."""
        if self.setting.scope == "layerwise":
            return {n: largest(abs(w[n]), mask[n], counts[n]) for n in KERNELS}
        magnitudes = np.concatenate([abs(w[n]).ravel() for n in KERNELS])
        kept = np.concatenate([mask[n].ravel() for n in KERNELS])
        chosen = largest(magnitudes, kept, counts["global"])
        split = w["left"].size
        return {
            "left": chosen[:split].reshape(w["left"].shape),
            "right": chosen[split:].reshape(w["right"].shape),
        }

    def search(self, initial, replicate):
        """Masks and weights of every level, and what level 0 went back to."""
        mask = {n: np.ones(initial[n].shape, bool) for n in KERNELS}
        still = {name: np.zeros_like(initial[name]) for name in initial}
        k = self.setting.rewind_step
        w, (rewound, velocity) = self.train(initial, mask, still, replicate, 0, 0, snapshot=k)
        levels, velocity = [(mask, w)], velocity if self.setting.rewind_moments else still
        for level in range(1, LEVELS):
            mask = self.prune(w, mask, self.counts(level))
            w, _ = self.train(rewound, mask, velocity, replicate, level, k)
            levels.append((mask, w))
        return levels, rewound, velocity

    def counts(self, level):
        if self.setting.scope == "layerwise":
            sizes = {"left": LEFT * CLASSES, "right": (INPUTS - LEFT) * CLASSES}
        else:
            sizes = {"global": INPUTS * CLASSES}
        for _ in range(level):
            sizes = {n: k - round(Fraction(RATES[n]) * k) for n, k in sizes.items()}
        return sizes


def largest(magnitudes, kept, keep):
    """A mask of the `keep` largest, by a stable sort of what is kept."""
    order = np.argsort(np.where(kept, -magnitudes, np.inf).ravel(), kind="stable")
    chosen = np.zeros(magnitudes.size, bool)
    chosen[order[:keep]] = True
    return chosen.reshape(magnitudes.shape)


# The library on the same problem.


def linear() -> Model:
    def init(key):
        draw = jax.random.randint(key, (INPUTS, CLASSES), -8, 9).astype(jnp.float32) / 8
        kernels = {"left": {"kernel": draw[:LEFT]}, "right": {"kernel": draw[LEFT:]}}
        return {**kernels, "shift": {"bias": jnp.zeros(CLASSES)}}, {}

    def apply(params, state, x, *, train, key=None):
        x = x.reshape(x.shape[0], -1)
        left, right = params["left"]["kernel"], params["right"]["kernel"]
        return x[:, :LEFT] @ left + x[:, LEFT:] @ right + params["shift"]["bias"][None], state

    return Model(init, apply)


def perceptron(logits, labels):
    """How far the highest logit is above the right one; its gradients are -1, 0 and 1."""
    guess = jax.nn.one_hot(jnp.argmax(logits, axis=1), CLASSES)
    return jnp.sum(logits * (guess - jax.nn.one_hot(labels, CLASSES)), axis=1)


LOSSES = {
    "perceptron": perceptron,
    "softmax": optax.softmax_cross_entropy_with_integer_labels,
}


def splits():
    generator = np.random.default_rng(5)

    def draw(number):
        images = generator.integers(0, 4, (number, 3, 4, 1)).astype(np.uint8)
        return Examples(images, generator.integers(0, CLASSES, number).astype(np.int32))

    return {"train": draw(26), "validation": draw(16)}


def learner(setting: Setting) -> learners.Learner:
    optimizer = optax.sgd(RATE, setting.momentum or None)
    scale = lambda images: images.astype(jnp.float32) / 2  # noqa: E731
    return learners.supervised(linear(), optimizer, loss=LOSSES[setting.loss], preprocess=scale)


@functools.cache
def found(name: str):
    setting = SETTINGS[name]
    rates = {"left/*": 0.25, "right/*": 0.2}
    allocation = allocate.globally(0.25) if setting.scope == "global" else allocate.layerwise(rates)
    return find_tickets(
        learner(setting),
        splits(),
        ROOT,
        Protocol(STEPS, BATCH, evaluate_every=8),
        allocation,
        levels=LEVELS,
        replicates=REPLICATES,
        arms=setting.arms,
        rewind_step=setting.rewind_step,
        rewind_moments=setting.rewind_moments,
        plan=Plan("map"),
    )


@functools.cache
def drawn(*names):
    """A new initialisation from a key of that name, as the oracle's arrays."""
    return flat(linear().init(derive(ROOT, *names))[0])


@functools.cache
def order(replicate, level, epoch, purpose):
    key = derive(ROOT, "replicate", replicate, purpose, level, "order", epoch)
    return np.asarray(jax.random.permutation(key, 26))


@functools.cache
def expected(name: str, replicate: int):
    train = splits()["train"]
    images = train.images.reshape(-1, INPUTS) / 2
    oracle = Oracle(SETTINGS[name], images, train.labels, order)
    return oracle, *oracle.search(drawn("replicate", replicate), replicate)


def flat(params):
    """The library's params as the oracle's arrays, in float64."""
    names = {"left": ("left", "kernel"), "right": ("right", "kernel"), "bias": ("shift", "bias")}
    return {n: np.asarray(params[a][b], np.float64) for n, (a, b) in names.items()}


def unflat(w):
    kernels = {name: {"kernel": jnp.asarray(w[name], jnp.float32)} for name in KERNELS}
    return {**kernels, "shift": {"bias": jnp.asarray(w["bias"], jnp.float32)}}


def on_device(tree):
    return jax.tree.map(jnp.asarray, tree)


def same_mask(actual, mask):
    for name in KERNELS:
        np.testing.assert_array_equal(actual[name]["kernel"], mask[name], err_msg=name)


def same_weights(name, actual, w):
    tolerance = 0 if SETTINGS[name].loss == "perceptron" else 2e-5
    cases.assert_close(flat(actual), w, tolerance)


every_setting = cases.every(SETTINGS)
every_replicate = cases.every(range(REPLICATES), "replicate")


@every_setting
@every_replicate
def test_every_level_of_the_ticket_is_the_oracles(name, replicate):
    oracle, levels, _, _ = expected(name, replicate)
    result = found(name)
    for level, (mask, w) in enumerate(levels):
        network = result.network("ticket", level, replicate)
        same_mask(network.mask, mask)
        same_weights(name, network.params, w)
        assert sum(result.counts[level].values()) == sum(oracle.counts(level).values())
        cases.assert_zero_where_pruned(network.params, network.mask) if level else None


@every_setting
@every_replicate
def test_the_origin_is_the_initialisation_and_the_state_at_the_rewind_step(name, replicate):
    _, _, rewound, _ = expected(name, replicate)
    origin = cases.member(found(name).origin, replicate)
    same_weights(name, origin.initial, drawn("replicate", replicate))
    same_weights(name, origin.rewound.params, rewound)


def branches(name):
    arms = [arm for arm in SETTINGS[name].arms if arm != "ticket"]
    return [(arm, level) for arm in arms for level in range(1, LEVELS)]


@every_setting
@every_replicate
def test_every_control_has_the_mask_of_its_definition(name, replicate):
    oracle, levels, _, _ = expected(name, replicate)
    dense = levels[0]
    for arm, level in branches(name):
        mask = found(name).network(arm, level, replicate).mask
        ticket = found(name).network("ticket", level, replicate).mask
        kind = cases.ARMS[arm].mask
        if kind == "ticket":
            same_mask(mask, levels[level][0])
        elif kind == "dense":
            assert all(leaf.all() for leaf in jax.tree.leaves(mask))
        elif kind == "oneshot":
            same_mask(mask, oracle.prune(dense[1], dense[0], oracle.counts(level)))
        else:
            assert masks.counts(mask) == masks.counts(ticket)
            key = derive(ROOT, "replicate", replicate, "shuffle", level)
            cases.assert_same_bits(mask, masks.shuffle(key, on_device(ticket)))
            assert any((mask[n]["kernel"] != ticket[n]["kernel"]).any() for n in KERNELS)


@every_setting
@every_replicate
def test_every_control_trains_from_its_own_start_on_the_tickets_batches(name, replicate):
    oracle, _, rewound, velocity = expected(name, replicate)
    still = {n: np.zeros_like(leaf) for n, leaf in velocity.items()}
    for arm, level in branches(name):
        network = found(name).network(arm, level, replicate)
        mask = {n: np.asarray(network.mask[n]["kernel"]) for n in KERNELS}
        fresh = drawn("replicate", replicate, "reinit", level)
        if cases.ARMS[arm].weights == "rewind":
            start, moving = rewound, velocity
        elif cases.ARMS[arm].weights == "reinit":
            start, moving = fresh, still
        else:  # the action's own definition is tested in test_rewind.py
            key = derive(ROOT, "replicate", replicate, "action", level)
            act = cases.ACTIONS[cases.ARMS[arm].weights]
            start = flat(act(key, unflat(rewound), unflat(fresh), on_device(network.mask)))
            moving = still
        first = SETTINGS[name].rewind_step
        held = held_weights(name, replicate, cases.ARMS[arm].pruned, mask)
        if cases.ARMS[arm].pruned == "initial_unless_shrunk_all":
            start = start | zero_where_shrunk(name, replicate, start)
        purpose = cases.ARMS[arm].order
        w, _ = oracle.train(
            start, mask, moving, replicate, level, first, held=held, purpose=purpose
        )
        same_weights(name, network.params, w)


def held_weights(name, replicate, pruned, mask):
    """What pruned weights of an arm are held at, by its definition."""
    _, levels, _, _ = expected(name, replicate)
    first, last = drawn("replicate", replicate), levels[0][1]
    stays = {
        "zero": lambda n: np.zeros_like(mask[n]),
        "initial": lambda n: ~mask[n],
        "initial_unless_shrunk": lambda n: ~mask[n] & (abs(last[n]) >= abs(first[n])),
    }
    stays["initial_unless_shrunk_all"] = stays["initial_unless_shrunk"]
    return {n: np.where(stays[pruned](n), first[n], 0.0) for n in KERNELS}


def zero_where_shrunk(name, replicate, start):
    """What weights begin at where those that training made smaller begin at zero."""
    _, levels, _, _ = expected(name, replicate)
    first, last = drawn("replicate", replicate), levels[0][1]
    assert all((abs(last[n]) < abs(first[n])).any() for n in KERNELS)
    return {n: np.where(abs(last[n]) < abs(first[n]), 0.0, start[n]) for n in KERNELS}


@every_setting
def test_curves_end_at_the_trained_network(name):
    validation = splits()["validation"]
    x = validation.images.reshape(-1, INPUTS) / 2
    result = found(name)
    for arm, level in [("ticket", 0), *branches(name)]:
        network = result.network(arm, level, 1)
        w = flat(network.params)
        mask = {n: np.asarray(network.mask[n]["kernel"]) for n in KERNELS}
        for n, values in held_weights(name, 1, cases.ARMS[arm].pruned, mask).items():
            w[n] = w[n] + values
        logits = x[:, :LEFT] @ w["left"] + x[:, LEFT:] @ w["right"] + w["bias"]
        share = (logits.argmax(axis=1) == validation.labels).mean()
        assert network.curves["validation_accuracy"][-1] == share
        first = SETTINGS[name].rewind_step if level else 0
        assert network.steps.tolist() == [first, *range(8, STEPS, 8), STEPS]


def test_the_oracles_problem_is_not_trivial():
    # Ties at the cut, arms that differ, levels that change the weights: else nothing is tested.
    ties = 0
    for replicate in range(REPLICATES):
        oracle, levels, rewound, _ = expected("exact_global_rewound", replicate)
        for level in range(1, LEVELS):
            mask, w = levels[level - 1]
            magnitudes = np.concatenate([abs(w[n][mask[n]]) for n in KERNELS])
            cut = np.sort(magnitudes)[::-1][: oracle.counts(level)["global"] + 1][-2:]
            ties += cut[0] == cut[1]
    assert ties > 0
    assert all((rewound[n] != drawn("replicate", replicate)[n]).any() for n in KERNELS)
    last = oracle.prune(*reversed(levels[0]), oracle.counts(LEVELS - 1))
    assert any((last[n] != levels[-1][0][n]).any() for n in KERNELS)
