"""Laws of streaming: the same order and the same bits, within a budget, ahead of the device."""

import contextlib
import functools
import threading

import cases
import jax
import jax.numpy as jnp
import make_datasets as make
import numpy as np
import pytest
import searches

from jaxticket import Examples, Plan, Protocol, TicketError, data, learners, train
from jaxticket.costs import Ledger
from jaxticket.data import DataError
from jaxticket.keys import derive
from jaxticket.learners.augmentation import compose, crop, flip
from jaxticket.population.memory import Memory
from jaxticket.trainer import Networks, placement, trainer
from jaxticket.trainer.feeding import Call, Orders, feed, places_of
from jaxticket.trainer.placement import as_arrays, as_stream, place, steps_a_call
from jaxticket.types import Stream

# 26 examples in batches of 4: 6 steps an epoch, so an interval of 7 crosses a boundary.
PROTOCOL = Protocol(steps=16, batch_size=4, evaluate_every=7)
OPTIMISED = "linen_with_batch_statistics"
A_BATCH = 4 * (6 + 4)
"""Bytes of four images of 2 x 3 pixels and their labels."""


# The same bits. Three networks, trained two at a time.


@functools.cache
def learner(model: str) -> learners.Learner:
    """AdamW, with dropout and batch statistics where the model has them, and augmentation."""
    make_optimizer, rate = cases.OPTIMIZERS["adamw"]
    augment = compose(crop(1), flip())
    return learners.supervised(cases.MODELS[model](), make_optimizer(rate), augment=augment)


@functools.cache
def networks(model: str) -> Networks:
    keys = jax.random.split(jax.random.key(0), 3)
    own = cases.stack([cases.mask_like(learner(model), seed) for seed in range(3)])
    states = jax.jit(jax.vmap(learner(model).init))(keys)
    restart = lambda s, m: learner(model).restart(s, s.params, m, moments=False)  # noqa: E731
    return Networks(jax.jit(jax.vmap(restart))(states, own), own, keys)


@functools.cache
def fit(model: str, plan: str, how: str):
    """Makes the trainer; `how` is held, arrays, grain, or records, the last three streamed."""
    splits = cases.data()
    made = {
        "held": lambda: splits["train"],
        "arrays": lambda: splits["train"],
        "grain": lambda: data.streamed(splits["train"], threads=2, ahead=3),
        "records": lambda: data.streamed([Examples(*row) for row in zip(*splits["train"])]),  # noqa: B905
    }
    with pytest.MonkeyPatch.context() as patch:
        # Two networks' batches of three steps: an interval of 7 is cut into 3 + 3 + 1.
        patch.setattr(placement, "FED_BYTES", 2 * 3 * A_BATCH)
        return trainer(
            learner(model),
            train.UNWATCHED,
            PROTOCOL,
            splits | {"train": made[how]()},
            cases.PLANS[plan](),
            streaming=how != "held",
        )


@contextlib.contextmanager
def all_optimisations():
    """Compiles as users do: where XLA fuses, a batch from elsewhere could change a bit."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@functools.cache
def trained(model: str, plan: str, how: str, start: int = 0):
    """Curves, states, snapshots, and what the host was told."""
    told = []
    ready = networks(model)
    snapshots = (start, 9) if start else (0, 5, 16)
    with all_optimisations() if model == OPTIMISED else contextlib.nullcontext():
        result = fit(model, plan, how)(
            ready,
            2,
            start=start,
            snapshots=snapshots,
            on_segment=lambda steps, metrics: told.append((steps, metrics)),
        )
    training = result.training._replace(order=None)
    return result._replace(training=training), told


@pytest.mark.slow
@cases.every(["handwritten", OPTIMISED], "model")
@pytest.mark.parametrize("how", ["arrays", "grain"])
@pytest.mark.parametrize("start", [0, 5])
def test_streamed_training_is_training_on_the_device_to_the_bit(model, how, start):
    expected, told = trained(model, "map_on_1", "held", start)
    actual, also_told = trained(model, "map_on_1", how, start)
    cases.assert_same_bits(actual, expected)
    cases.assert_same_bits(also_told, told)
    assert np.isfinite(actual.curves["train_loss"][:, 1:]).all()
    assert len(set(actual.curves["train_loss"][:, -1].tolist())) == 3


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["map_on_2", "vmap_on_1"])
def test_streamed_training_is_the_same_on_any_plan(plan):
    expected, _ = trained("handwritten", plan, "held")
    actual, _ = trained("handwritten", plan, "arrays")
    compare = cases.assert_same_bits if plan.startswith("map") else cases.assert_close
    compare((actual.training, actual.snapshots), (expected.training, expected.snapshots))
    for name, curve in expected.curves.items():
        compare(actual.curves[name][:, 1:], curve[:, 1:])  # training metrics begin with NaN


@pytest.mark.slow
def test_records_are_streamed_like_arrays():
    expected, _ = trained("handwritten", "map_on_1", "held")
    cases.assert_same_bits(trained("handwritten", "map_on_1", "records")[0], expected)


def test_states_that_start_unmasked_are_masked_before_the_first_evaluation():
    ready = networks("handwritten")
    dense = ready._replace(states=jax.vmap(learner("handwritten").init)(ready.keys))
    for how in ("held", "arrays"):
        snapshot = fit("handwritten", "map_on_1", how)(dense, 2, snapshots=(0,)).snapshots[0]
        cases.assert_zero_where_pruned(snapshot.params, ready.masks)


def test_a_search_finds_the_same_tickets_and_controls():
    expected, actual = searches.finished(), searches.search(streaming=True)
    for arm in expected.arms:
        for level in range(expected.levels):
            for replicate in range(expected.replicates):
                one = expected.network(arm, level, replicate)
                other = actual.network(arm, level, replicate)
                cases.assert_same_bits((other.mask, other.params), (one.mask, one.params))
                cases.assert_same_bits(other.curves, one.curves)


@pytest.mark.slow
def test_one_compilation_serves_all_calls_levels_and_arms():
    counts = []
    for levels, arms in ((2, ("ticket", "reinit")), (3, ("ticket", "shuffle", "oneshot"))):
        traces = 0
        base = cases.learner(optimizer="momentum")

        def counted(*args):
            nonlocal traces
            traces += 1
            return base.step(*args)  # noqa: B023

        searches.search(
            learner=base._replace(step=counted), levels=levels, arms=arms, streaming=True
        )
        counts.append(traces)
    # Once to train, once for the names of its metrics, once to count its arithmetic.
    assert counts == [3, 3]


# The order, written down from its definition.


def orders_of(keys, number: int, epochs: int) -> Orders:
    permute = lambda key, epoch: jax.random.permutation(derive(key, "order", epoch), number)  # noqa: E731
    return Orders(jax.jit(lambda epoch: jax.vmap(permute, (0, None))(keys, epoch)), epochs)


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (2, 6), (4, 9), (5, 19), (12, 18)])
def test_places_are_those_of_the_epochs_permutations(start, stop):
    keys = jax.random.split(jax.random.key(1), 2)
    places = places_of(Call(start, stop), PROTOCOL, 26, orders_of(keys, 26, 4))
    assert places.shape == (2, 4 * (stop - start))
    for index, key in enumerate(keys):
        for step in range(start, stop):
            order = np.asarray(jax.random.permutation(derive(key, "order", step // 6), 26))
            first = 4 * (step % 6)
            at = 4 * (step - start)
            np.testing.assert_array_equal(places[index, at : at + 4], order[first : first + 4])


def test_orders_are_made_one_epoch_ahead_each_once_and_forgotten():
    made = []

    def make_order(epoch):
        made.append(int(epoch))
        return np.full((1, 2), epoch)

    orders = Orders(make_order, epochs=4)
    for epoch, expected in ((0, [0, 1]), (0, [0, 1]), (1, [0, 1, 2]), (3, [0, 1, 2, 3])):
        assert orders(epoch).tolist() == [[epoch, epoch]]
        assert made == expected
    assert orders(2).tolist() == [[2, 2]]
    assert made == [0, 1, 2, 3]
    orders(0)
    assert made[4:] == [0, 1]


# The budget.


def spied(calls: list[int]) -> Stream:
    """A stream that writes down how many bytes it is asked for at a time."""
    stream = as_stream(cases.data()["train"])

    def rows(places):
        batch = stream.rows(places)
        if places.ndim == 2:
            calls.append(sum(leaf.nbytes for leaf in jax.tree.leaves(batch)))
        return batch

    return stream._replace(rows=rows)


IDLE = learners.Learner(
    init=lambda key: learners.TrainState({"w": jnp.ones(1)}, {}, ()),
    step=lambda state, mask, batch, key: (state, {"loss": batch.labels[0].astype(jnp.float32)}),
    evaluate=lambda state, mask, examples: {"loss": state.params["w"][0]},
    restart=lambda state, params, mask, *, moments: state,
)
"""A learner that learns nothing and compiles at once."""


def idle_networks() -> Networks:
    states = learners.TrainState({"w": np.ones((3, 1), np.float32)}, {}, ())
    return Networks(states, {"w": np.ones((3, 1), bool)}, jax.random.split(jax.random.key(0), 3))


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (10**6, [7, 7, 2]),
        (2 * 6 * A_BATCH, [4, 3, 4, 3, 2]),
        (2 * 6 * A_BATCH - 1, [4, 3, 4, 3, 2]),
        (2 * 3 * A_BATCH, [3, 3, 1, 3, 3, 1, 2]),
        (1, [1] * 16),
    ],
)
def test_no_call_is_fed_more_than_the_budget_or_one_step(budget, expected, monkeypatch):
    monkeypatch.setattr(placement, "FED_BYTES", budget)
    asked: list[int] = []
    splits = cases.data() | {"train": spied(asked)}
    run = trainer(IDLE, train.UNWATCHED, PROTOCOL, splits, Plan("map"), streaming=True)
    run(idle_networks(), 2)
    assert asked == [2 * A_BATCH * steps for steps in expected] * 2
    assert max(asked) <= max(budget, 2 * A_BATCH)


def test_the_budget_is_of_one_device(monkeypatch):
    monkeypatch.setattr(placement, "FED_BYTES", 2 * 3 * A_BATCH)
    asked: list[int] = []
    splits = cases.data() | {"train": spied(asked)}
    plan = Plan("map", devices=2)
    trainer(IDLE, train.UNWATCHED, PROTOCOL, splits, plan, streaming=True)(idle_networks(), 4)
    # A device has two of the four networks, so a call has three steps.
    assert asked == [4 * A_BATCH * steps for steps in (3, 3, 1, 3, 3, 1, 2)]


def test_all_calls_are_fed_alike_and_what_is_too_much_is_zero():
    keys, stream = jax.random.split(jax.random.key(1), 2), as_stream(cases.data()["train"])
    orders, calls = orders_of(keys, 26, 4), [Call(0, 3), Call(3, 4)]
    whole, part = feed(stream, PROTOCOL, orders, calls, 3, Plan("map"))
    for long, short in zip(whole, part, strict=True):
        assert long.shape == short.shape == (2, 12, *long.shape[2:])
        assert not np.any(short[:, 4:])
    places = places_of(calls[1], PROTOCOL, 26, orders)
    np.testing.assert_array_equal(part.images[:, :4], stream.rows(places).images)


def test_a_call_is_as_long_as_the_budget_allows_and_no_longer_than_an_interval():
    protocol = Protocol(steps=100, batch_size=8, evaluate_every=50)
    for budget in range(1, 2000, 7):
        steps = steps_a_call(protocol, networks=3, step_bytes=10, fed_bytes=budget)
        assert 1 <= steps <= 50
        assert steps == 1 or steps * 30 <= budget
        # One call less would not do.
        calls = -(-50 // steps)
        assert calls == 1 or -(-50 // (calls - 1)) * 30 > budget
    assert steps_a_call(Protocol(3, 8, 50), networks=1, step_bytes=1, fed_bytes=10**9) == 3


# The decision.


def tell(monkeypatch, free: int | None, whose: str = "this machine"):
    monkeypatch.setattr(placement, "device_memory", lambda plan: Memory(free, free, whose))


@pytest.mark.parametrize(("free", "streams"), [(400, True), (719, True), (720, False)])
def test_the_training_split_streams_if_all_splits_exceed_their_share(free, streams, monkeypatch):
    # 36 examples of 10 bytes.
    tell(monkeypatch, free)
    for split in (cases.data()["train"], as_stream(cases.data()["train"])):
        decided = place(cases.data() | {"train": split}, Plan("map"), resident_share=0.5)
        assert decided.streams == streams
        assert decided.fed_bytes == free // 2 // 8
    assert place(cases.data(), Plan("map"), resident_share=1.0).streams == (free < 360)


def test_the_decision_is_told_in_one_line(monkeypatch):
    tell(monkeypatch, 8 * 2**30)
    assert str(place(cases.data(), Plan("map"))) == (
        "training examples on the device (360 B within 4 GiB, 50% of what is free on this machine)"
    )
    # Of half of 4 GiB an eighth would be more than is fed at a time.
    assert place(cases.data(), Plan("map")).fed_bytes == 256 * 2**20
    tell(monkeypatch, 720)
    assert "on the device (360 B within 360 B" in str(place(cases.data(), Plan("map")))
    tell(monkeypatch, 2)
    assert place(cases.data(), Plan("map")).fed_bytes == 1
    tell(monkeypatch, 100, "H100")
    assert str(place(cases.data(), Plan("map"))) == (
        "training examples streamed from the host, at most 6 B at a time (360 B above 50 B, 50% "
        "of what is free on H100)"
    )
    assert str(place(cases.data(), Plan("map"), streaming=True)) == (
        "training examples streamed from the host, at most 6 B at a time (given)"
    )
    assert not place(cases.data(), Plan("map"), streaming=False).streams
    tell(monkeypatch, None, "a tpu that does not tell")
    assert str(place(cases.data(), Plan("map"))) == (
        "training examples on the device (360 B; memory of a tpu that does not tell)"
    )


def test_a_run_that_streams_notes_it(monkeypatch, capsys):
    tell(monkeypatch, 100)
    ledger = Ledger()
    trainer(IDLE, train.UNWATCHED, PROTOCOL, cases.data(), Plan("map"), ledger=ledger)
    assert ledger.notes == [str(place(cases.data(), Plan("map")))]
    tell(monkeypatch, 8 * 2**30)
    trainer(IDLE, train.UNWATCHED, PROTOCOL, cases.data(), Plan("map"), ledger=ledger)
    assert len(ledger.notes) == 1


def test_impossible_shares_are_refused():
    for share in (0.0, 1.1):
        with pytest.raises(TicketError, match=f"resident share: got {share}, expected above 0"):
            place(cases.data(), Plan("map"), resident_share=share)


def test_a_stream_that_fits_is_read_into_memory():
    stream = as_stream(cases.data()["train"])
    assert as_stream(stream) is stream
    cases.assert_same_bits(as_arrays(stream), cases.data()["train"])
    splits = cases.data() | {"train": stream}
    run = trainer(IDLE, train.UNWATCHED, PROTOCOL, splits, Plan("map"), streaming=False)
    same = trainer(IDLE, train.UNWATCHED, PROTOCOL, cases.data(), Plan("map"), streaming=False)
    cases.assert_same_bits(run(idle_networks(), 2), same(idle_networks(), 2))


# Reading with grain.


def test_grain_loads_in_order_and_before_it_is_asked():
    loaded, second = [], threading.Event()

    def load(index):
        loaded.append((index, threading.current_thread() is threading.main_thread()))
        if index == 1:
            second.set()
        return index

    ready = data.streamed(cases.data()["train"], threads=1, ahead=1).ahead(load, 5)
    assert next(ready) == 0
    assert second.wait(timeout=60)
    assert list(ready) == [1, 2, 3, 4]
    assert sorted(loaded) == [(index, False) for index in range(5)]


def test_arrays_are_gathered_only_when_they_are_asked_for():
    loaded: list[int] = []
    ready = as_stream(cases.data()["train"]).ahead(lambda index: loaded.append(index), 3)
    next(ready)
    assert loaded == [0]


def test_memory_mapped_arrays_are_examples_too(tmp_path):
    examples = cases.data()["train"]
    for name, leaf in examples._asdict().items():
        np.save(tmp_path / f"{name}.npy", leaf)
    mapped = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in Examples._fields)
    stream = data.streamed(Examples(*mapped))
    places = np.array([[3, 3, 25], [0, 7, 1]])
    expected = jax.tree.map(lambda leaf: leaf[places], examples)
    cases.assert_same_bits(stream.rows(places), expected)
    assert stream.number == 26


def test_a_prepared_tfds_set_is_read_from_its_files(tmp_path):
    import tensorflow_datasets as tfds

    folder = make.write_tfds(tmp_path, "small", make.small_splits({"train": 12}))
    source = tfds.builder_from_directory(folder).as_data_source("train")
    stream = data.streamed(
        source, example=lambda record: Examples(record["image"], record["label"])
    )
    rows = stream.rows(np.arange(12))
    images, labels = make.small_splits({"train": 12})["train"]
    order = [int(np.flatnonzero((images == image).all(axis=(1, 2, 3)))[0]) for image in rows.images]
    assert sorted(order) == list(range(12))
    np.testing.assert_array_equal(rows.labels, labels[order])
    assert (rows.images.dtype, rows.labels.dtype) == (np.uint8, np.int32)
    some = stream.rows(np.array([[5, 2], [2, 5]]))
    np.testing.assert_array_equal(some.images, rows.images[np.array([[5, 2], [2, 5]])])


def test_each_record_is_read_once_a_call():
    read = []

    class Records:
        def __len__(self):
            return 5

        def __getitem__(self, place):
            read.append(place)
            return Examples(np.full((1, 1, 1), place, np.uint8), place)

    rows = data.streamed(Records()).rows(np.array([[4, 1, 4], [1, 4, 0]]))
    assert read == [0, 1, 4]
    assert rows.labels.tolist() == rows.images[..., 0, 0, 0].tolist() == [[4, 1, 4], [1, 4, 0]]


def test_mistakes_of_a_source_are_told_where_they_are_read():
    varying = [Examples(np.zeros((n, 2, 1), np.uint8), n) for n in (2, 3)]
    stream = data.streamed(varying)
    message = r"images of varying size, \(2, 2, 1\) and \(3, 2, 1\).*resize them in example="
    with pytest.raises(DataError, match=message):
        list(stream.ahead(lambda index: stream.rows(np.arange(2)), 1))
    with pytest.raises(DataError, match="streamed: got 0 threads, 2 calls ahead, expected 1"):
        data.streamed(varying, threads=0)


def test_reading_ends_where_training_does(monkeypatch):
    ended = []

    def ahead(load, number):
        try:
            yield from map(load, range(number))
        finally:
            ended.append(True)

    stream = as_stream(cases.data()["train"])._replace(ahead=ahead)
    splits = cases.data() | {"train": stream}
    run = trainer(IDLE, train.UNWATCHED, PROTOCOL, splits, Plan("map"), streaming=True)

    def interrupt(steps, metrics):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(idle_networks(), 2, on_segment=interrupt)
    assert ended == [True]
