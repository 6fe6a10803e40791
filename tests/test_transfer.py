"""Laws of transfer: a ticket at home is the native one, elsewhere it is what its parts say."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import searches

from jaxticket import Model, TicketError, learners, masks, models, structure, transfer
from jaxticket.imp import Variant
from jaxticket.keys import derive
from jaxticket.train import train
from jaxticket.transfer import Renewed, Ticket, Transfer, stretch, unit_map, widen

ARMS = ("ticket", "reinit", "shuffle", "shuffle_reinit")
RATES = {"slow": 0.01, "fast": 0.1}
NOTHING = Renewed(masks.matching())
START = 2


def family(hyperparameters):
    """Learners that differ in their rate, which falls within training, so that k matters."""
    schedule = optax.piecewise_constant_schedule(hyperparameters["learning_rate"], {4: 0.1})
    return learners.supervised(cases.handwritten(), optax.sgd(schedule, momentum=0.9))


@functools.cache
def search():
    variants = {name: Variant({"learning_rate": rate}) for name, rate in RATES.items()}
    return searches.search(
        learner=family, variants=variants, levels=2, arms=ARMS, rewind_step=START
    )


@functools.cache
def moved(renewed, *pairs):
    """Trains every arm of some (source, target) pairs and gives what is left of it."""
    names = [
        Transfer(*pair, arm, 1, replicate) for pair in pairs for arm in ARMS for replicate in (0, 1)
    ]
    networks = {}

    def keep(chosen, record):
        for place, name in enumerate(chosen):
            network = record.masks, record.params, record.curves
            networks[name] = cases.member(network, place)

    found = transfer.transfer(
        family,
        cases.data(),
        jax.random.key(0),
        searches.PROTOCOL,
        transfer.tickets_of(search()),
        search(),
        names,
        hyperparameters={name: {"learning_rate": rate} for name, rate in RATES.items()},
        renewed=renewed,
        rewind_step=START,
        plan=searches.PLAN,
        on_record=keep,
    )
    return found, networks


@pytest.fixture(scope="module")
def at_home():
    return moved(NOTHING, ("slow", "slow"), ("fast", "fast"), ("slow", "fast"))


@pytest.mark.slow
def test_at_home_with_nothing_renewed_every_arm_is_the_native_one_to_the_bit(at_home):
    for name, (mask, params, curves) in at_home[1].items():
        if name.source == name.target:
            native = search().network(name.arm, 1, name.replicate, name.target)
            cases.assert_same_bits((mask, params), (native.mask, native.params))
            for metric, values in curves.items():
                np.testing.assert_array_equal(values, native.curves[metric], metric)


@pytest.mark.slow
def test_elsewhere_a_ticket_is_another_network_than_the_native_one(at_home):
    first, other = (at_home[1][Transfer(s, "fast", "ticket", 1, 0)] for s in ("slow", "fast"))
    assert not np.array_equal(first[0]["hidden_0"]["kernel"], other[0]["hidden_0"]["kernel"])
    assert not np.array_equal(first[2]["validation_loss"], other[2]["validation_loss"])


def test_controls_keep_as_many_weights_of_each_layer_as_the_ticket(at_home):
    found, networks = at_home
    assert (found.nonzero_pruned == 0).all()
    assert (found.diverged == -1).all()
    for place, name in enumerate(found.names):
        wanted = masks.counts(search().network("ticket", 1, name.replicate, name.source).mask)
        assert {path: kept[place] for path, kept in found.kept.items()} == wanted
        assert masks.counts(networks[name][0]) == wanted
        for metric, curve in found.curves.items():
            np.testing.assert_array_equal(curve[place], networks[name][2][metric])


def carried(arm, renewed, change=lambda ticket: ticket):
    result = search()
    row = transfer.tickets_of(result).row("slow", 1, 1)
    ticket = Ticket(
        result.network("ticket", 1, 1, "slow").mask,
        *cases.member((result.origin.rewound.params, result.origin.rewound.model_state), row),
    )
    key = derive(jax.random.key(0), "replicate", jnp.int32(1))
    state = cases.member(result.origin.rewound, 2 + 1)
    learner = family({"learning_rate": 0.1})
    made, mask = transfer.carry(learner, change(ticket), state, key, jnp.int32(1), arm, renewed)
    return ticket, learner.init(derive(key, "reinit", 1)).params, made, mask, state


@pytest.mark.parametrize("kind", ["source", "dense"])
def test_a_carried_ticket_is_made_of_the_parts_that_it_says(kind):
    ticket, fresh, made, mask, state = carried("ticket", Renewed(mask=kind))
    kept = ticket.mask["output"]["kernel"]
    if kind == "dense":
        kept = np.ones_like(kept)
    np.testing.assert_array_equal(mask["output"]["kernel"], kept)
    output = np.where(kept, fresh["output"]["kernel"], 0)
    np.testing.assert_array_equal(made.params["output"]["kernel"], output)
    hidden = np.where(ticket.mask["hidden_0"]["kernel"], ticket.params["hidden_0"]["kernel"], 0)
    np.testing.assert_array_equal(made.params["hidden_0"]["kernel"], hidden)
    np.testing.assert_array_equal(
        made.params["hidden_0"]["bias"], ticket.params["hidden_0"]["bias"]
    )
    # The moments begin at zero, the schedule goes on from step k of the target.
    count = lambda state: [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim == 0]  # noqa: E731
    assert count(made) == count(state) == [START]
    assert all(not leaf.any() for leaf in jax.tree.leaves(made.opt_state) if leaf.ndim)


@pytest.mark.parametrize("arm", ARMS)
def test_a_dense_new_layer_has_nothing_of_the_sources_not_even_its_shape(arm):
    def of_ten_classes(ticket):
        layer = {"kernel": np.ones((5, 10), np.float32), "bias": np.ones(10, np.float32)}
        mask = ticket.mask | {"output": {"kernel": np.ones((5, 10), bool), "bias": None}}
        return ticket._replace(mask=mask, params=ticket.params | {"output": layer})

    dense = Renewed(mask="dense")
    _, _, made, mask, _ = carried(arm, dense)
    _, _, other, of_other, _ = carried(arm, dense, of_ten_classes)
    cases.assert_same_bits((made, mask), (other, of_other))


def test_controls_take_another_mask_or_other_weights():
    ticket, fresh, made, mask, _ = carried("shuffle_reinit", Renewed())
    assert masks.counts(mask) == masks.counts(ticket.mask)
    assert not np.array_equal(mask["hidden_0"]["kernel"], ticket.mask["hidden_0"]["kernel"])
    cases.assert_same_bits(made.params, masks.apply(fresh, mask))


UNITS = ("hidden_{}", "norm_{}")


def test_a_map_of_every_unit_to_itself_changes_nothing():
    model = models.deep_mlp(cases.SHAPE, 3, width_multiplier=0.1)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    generator = np.random.default_rng(0)
    params, state = jax.tree.map(lambda leaf: generator.normal(size=leaf.shape), shapes)
    same = unit_map(";".join(f"{n}:{n}" for n in range(8)))
    for tree in (params, state, masks.ones(params)):
        cases.assert_same_bits(stretch(tree, same, UNITS, like=tree), tree)


def test_a_stretched_residual_network_has_the_shapes_of_the_deeper_one():
    first, deeper = (
        jax.eval_shape(make((8, 8, 1), 10, width_multiplier=0.25).init, jax.random.key(0))
        for make in (models.resnet_20, models.resnet_32)
    )
    text = ";".join(
        f"{3 * s}:{5 * s};{3 * s + 1}:{5 * s + 1},{5 * s + 2};{3 * s + 2}:{5 * s + 3},{5 * s + 4}"
        for s in range(3)
    )
    mapping = unit_map(text)
    assert str(mapping) == text
    for tree, like in zip(first, deeper, strict=True):
        assert stretch(tree, mapping, ("block_{:02}",), like=like) == like
    back = unit_map(";".join(map(_squeezed, range(15))))
    for tree, like in zip(deeper, first, strict=True):
        assert stretch(tree, back, ("block_{:02}",), like=like) == like


def _squeezed(block):
    stage, place = divmod(block, 5)
    return f"{block}:{3 * stage + place // 2 if place in (0, 2, 4) else ''}"


def test_units_are_copied_to_where_the_map_says_at_any_depth():
    tree = {"stats": {"norm_0": 0, "norm_1": 1, "norm_2": 2}, "output": 9}
    new = stretch(tree, unit_map("0:0;1:2,1;2:3"), UNITS)
    assert new == {"stats": {"norm_0": 0, "norm_1": 1, "norm_2": 1, "norm_3": 2}, "output": 9}
    assert stretch({}, unit_map("0:0"), UNITS) == {}


def test_tickets_are_stretched_all_at_once():
    given = transfer.tickets_of(search())
    rename = lambda tree: {"hidden_0": tree["hidden_0"], "hidden_1": tree["hidden_0"]}  # noqa: E731

    def change(ticket):
        return Ticket(*(stretch(rename(t), unit_map("0:0;1:1,2"), UNITS) for t in ticket[:2]), {})

    made = given.changed(change)
    for level in (0, 1):
        wanted = given.masks[level]["hidden_0"]["kernel"]
        np.testing.assert_array_equal(made.masks[level]["hidden_2"]["kernel"], wanted)
    assert set(made.params) == {"hidden_0", "hidden_1", "hidden_2"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "copies"),
    [
        (
            lambda: models.mlp((3, 3, 1), (4, 3), 2),
            {"hidden_0/kernel": [1, 3, 2, 1], "hidden_1/kernel": 3},
        ),
        (lambda: models.deep_mlp((3, 3, 1), 2, width_multiplier=0.05), {"hidden_2/kernel": 2}),
        # The image is flattened: every channel is read in many places.
        (lambda: models.conv_2((4, 4, 1), 2, width_multiplier=0.04), 2),
    ],
    ids=["dense", "batch statistics", "convolutions"],
)
def test_a_widened_ticket_is_the_same_function(model, copies):
    model, generator = model(), np.random.default_rng(0)
    shape = (4, 4, 1) if copies == 2 else (3, 3, 1)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    draw = lambda leaf: jnp.asarray(generator.uniform(0.5, 1.5, leaf.shape), jnp.float32)  # noqa: E731
    params, state = jax.tree.map(draw, shapes)
    drawn = jax.tree.map(lambda leaf: jnp.asarray(generator.random(leaf.shape) < 0.7), params)
    mask = jax.tree.map(lambda p, m: m if p.ndim > 1 else None, params, drawn)
    graph = structure.trace(model, params, state, shape)
    if copies == 2:
        copies = {group.name: 2 for group in graph.groups}
    wide = widen(graph, Ticket(mask, params, state), copies)
    for group in graph.groups:
        path = group.name.split("/")
        size = functools.reduce(dict.__getitem__, path, wide.params).shape[-1]
        assert size == np.broadcast_to(copies.get(group.name, 1), group.size).sum()
    images = jnp.asarray(generator.normal(size=(5, *shape)), jnp.float32)
    outputs = [
        model.apply(masks.apply(p, m), s, images, train=False)[0]
        for m, p, s in (Ticket(mask, params, state), wide)
    ]
    np.testing.assert_allclose(*outputs, rtol=2e-5, atol=1e-5)


BAD_MAPS = [
    ("", "got '', expected such as"),
    ("0:0;1", "got '1', expected such as"),
    ("0:0;1:x", "got '1:x'"),
    ("0:0;2:1", r"got source units \[0, 2\], expected 0 to 1 in order"),
    ("0:0;0:1", r"got source units \[0, 0\]"),
    ("0:0,1;1:2", "got 0:0,1, expected 0:0"),
    ("0:;1:0", "got 0:, expected 0:0"),
    ("0:0;1:1,1", r"got target units \[0, 1, 1\], expected 0 to 2, each once"),
    ("0:0;1:2", r"got target units \[0, 2\]"),
]


@pytest.mark.parametrize(("text", "message"), BAD_MAPS)
def test_a_map_that_makes_no_sense_is_one_line(text, message):
    with pytest.raises(TicketError, match=message) as caught:
        unit_map(text)
    assert "\n" not in str(caught.value)


def test_units_that_do_not_fit_are_one_line():
    two = {"hidden_0": jnp.ones((3, 2)), "hidden_1": jnp.ones((2, 2))}
    with pytest.raises(TicketError, match=r"names the units 0 to 2.*has 2 of 'hidden_\{\}'"):
        stretch(two, unit_map("0:0;1:1;2:2"), UNITS)
    with pytest.raises(TicketError, match=r"got block_\{\}, expected names of units that are"):
        stretch(two, unit_map("0:0;1:1"), ("block_{}",))
    with pytest.raises(TicketError, match=r"unit 'hidden': expected a name with one"):
        stretch(two, unit_map("0:0;1:1"), ("hidden",))
    with pytest.raises(TicketError, match=r"hidden_1 becomes \(2, 2\), expected nothing"):
        stretch(two, unit_map("0:0;1:1"), UNITS, like={"hidden_0": two["hidden_0"]})
    graph = structure.trace(cases.handwritten(), cases.params(), {}, cases.SHAPE)
    ticket = Ticket(cases.mask(), cases.params(), {})
    with pytest.raises(TicketError, match="unknown group of units 'hidden'"):
        widen(graph, ticket, {"hidden": 2})
    for copies in (0, 1.5, [1, 2]):
        with pytest.raises(TicketError, match=r"hidden_0/kernel: got copies .* of its 5 units"):
            widen(graph, ticket, {"hidden_0/kernel": copies})


def ask(**changes):
    choices = {"names": [Transfer("slow", "fast", "ticket", 1, 0)], "renewed": Renewed()}
    choices |= changes
    names = choices.pop("names")
    source = choices.pop("source", None) or transfer.tickets_of(search())
    given = family, cases.data(), jax.random.key(0), searches.PROTOCOL, source, search(), names
    return transfer.transfer(*given, **choices)


ONE = Transfer("slow", "fast", "ticket", 1, 0)
BAD = [
    ({"names": []}, "got no networks"),
    ({"names": [ONE._replace(source="sloww")]}, "unknown source of a transfer 'sloww'.*slow"),
    ({"names": [ONE._replace(target="fas")]}, "unknown target of a transfer 'fas'"),
    ({"names": [ONE._replace(arm="oneshot")]}, "got oneshot, expected one made of the source's"),
    ({"names": [ONE._replace(arm="tickt")]}, "unknown arm 'tickt'"),
    ({"names": [ONE._replace(level=2)]}, "got level 2 and replicate 0, expected them below 2"),
    ({"names": [ONE._replace(replicate=2)]}, "got level 1 and replicate 2"),
    ({"renewed": Renewed(mask="half")}, "unknown mask of renewed layers 'half'"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message for _, message in BAD])
def test_what_cannot_be_carried_is_one_line(changes, message):
    with pytest.raises(TicketError, match=message) as caught:
        ask(**changes)
    assert "\n" not in str(caught.value)


def test_a_search_that_lacks_a_ticket_is_refused_by_what_it_lacks():
    result = search()
    lacking = result._replace(records=[r for r in result.records if not any(r.levels)])
    with pytest.raises(TicketError, match="lacks the ticket of level 1, replicate 0, variant slow"):
        transfer.tickets_of(lacking)


@pytest.mark.parametrize(
    ("layer", "renewed", "message"),
    [
        (
            "output",
            Renewed(),
            r"this layer is renewed, but not .*: give Renewed\(mask=\"dense\"\)$",
        ),
        ("output", NOTHING, "stretch or widen the ticket to the target's first$"),
        ("output", NOTHING._replace(mask="dense"), "stretch or widen"),
        ("hidden_0", Renewed(mask="dense"), "stretch or widen"),
    ],
)
def test_tickets_of_another_network_are_refused_by_the_leaf_that_differs(layer, renewed, message):
    source = transfer.tickets_of(search())
    params = source.params | {layer: {"kernel": np.zeros((4, 5, 4)), "bias": np.zeros((4, 4))}}
    with pytest.raises(TicketError, match=rf"{layer}/bias is \(4,\) in the source and .*{message}"):
        ask(source=source._replace(params=params), renewed=renewed)
    without = {name: part for name, part in source.params.items() if name != layer}
    with pytest.raises(TicketError, match=rf"{layer}/bias is None in the source .* stretch or"):
        ask(source=source._replace(params=without), renewed=renewed)


# Tickets of another shape.

SHAPES = {"given": ((4, 4), 10), "classes": ((4, 4), 3), "wider": ((8, 4), 10)}
SHAPES["deeper"] = ((4, 4, 4), 10)


def network(widths, classes):
    """A perceptron of plain dicts, of any shape."""
    sizes = (6, *widths, classes)
    names = [f"hidden_{n}" for n in range(len(widths))] + ["output"]

    def init(key):
        drawn = jax.random.uniform(key, (200,), minval=-1.0, maxval=1.0)
        params, first = {}, 0
        for name, rows, columns in zip(names, sizes[:-1], sizes[1:], strict=True):
            kernel = drawn[first : first + rows * columns].reshape(rows, columns)
            params[name] = {"kernel": kernel, "bias": jnp.zeros(columns)}
            first += rows * columns
        return params, {}

    def apply(params, model_state, x, *, train, key=None):
        x = x.reshape(x.shape[0], -1)
        for name in names:
            x = jnp.tanh(x) if name != names[0] else x
            x = x @ params[name]["kernel"] + params[name]["bias"][None]
        return x, model_state

    return Model(init, apply)


def learner_of(kind):
    return learners.supervised(network(*SHAPES[kind]), optax.sgd(0.1, momentum=0.9))


@functools.cache
def given():
    """A search of networks with ten outputs."""
    return searches.search(
        learner=learner_of("given"), levels=2, arms=("ticket",), replicates=1, rewind_step=START
    )


def changed(kind, tickets):
    if kind == "wider":
        params = cases.member(tickets.params, 0)
        graph = structure.trace(network(*SHAPES["given"]), params, {}, cases.SHAPE)
        return tickets.changed(lambda ticket: widen(graph, ticket, {"hidden_0/kernel": 2}))
    if kind == "deeper":
        stretched = lambda tree: stretch(tree, unit_map("0:0;1:1,2"), UNITS)  # noqa: E731
        return tickets.changed(lambda ticket: Ticket(*map(stretched, ticket)))
    return tickets


def trained_elsewhere(kind, renewed):
    """What the transfer of level 1 to another network says, and that network, trained."""
    target = searches.search(
        learner=learner_of(kind), levels=1, arms=("ticket",), replicates=1, rewind_step=START
    )
    networks = []
    found = transfer.transfer(
        learner_of(kind),
        cases.data(),
        jax.random.key(0),
        searches.PROTOCOL,
        changed(kind, transfer.tickets_of(given())),
        target,
        [Transfer("", "", "ticket", 1, 0)],
        renewed=renewed,
        rewind_step=START,
        plan=searches.PLAN,
        on_record=lambda names, record: networks.append(
            cases.member((record.masks, record.params), 0)
        ),
    )
    assert found.nonzero_pruned.tolist() == [0]
    assert found.diverged.tolist() == [-1]
    return target, found, networks[0]


def by_definition(kind, fresh):
    """Mask and params that the target begins with, written with NumPy."""
    mask = given().network("ticket", 1, 0).mask
    params = jax.device_get(cases.member(given().origin.rewound.params, 0))
    if kind == "classes":
        ones = jax.tree.map(np.ones_like, fresh["output"]["kernel"]).astype(bool)
        return mask | {"output": {"kernel": ones, "bias": None}}, params | {
            "output": fresh["output"]
        }
    if kind == "deeper":
        return ({**tree, "hidden_2": tree["hidden_1"]} for tree in (mask, params))
    first, second = ([tree[f"hidden_{n}"] for tree in (mask, params)] for n in (0, 1))
    wide = [{"kernel": np.repeat(one["kernel"], 2, axis=1), "bias": one["bias"]} for one in first]
    wide[1]["bias"] = np.repeat(first[1]["bias"], 2)
    reads = [one | {"kernel": np.repeat(one["kernel"], 2, axis=0)} for one in second]
    reads[1]["kernel"] = reads[1]["kernel"] / 2
    return (
        tree | {"hidden_0": wide[n], "hidden_1": reads[n]} for n, tree in enumerate((mask, params))
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "renewed"),
    [("classes", Renewed(mask="dense")), ("wider", NOTHING), ("deeper", NOTHING)],
)
def test_a_ticket_trains_in_a_network_of_another_shape_as_its_parts_say(kind, renewed):
    target, found, (mask, params) = trained_elsewhere(kind, renewed)
    key, learner = derive(jax.random.key(0), "replicate", jnp.int32(0)), learner_of(kind)
    fresh = jax.device_get(learner.init(derive(key, "reinit", jnp.int32(1))).params)
    expected, start = by_definition(kind, fresh)
    cases.assert_same_bits(mask, expected)
    assert {path: int(kept[0]) for path, kept in found.kept.items()} == masks.counts(expected)
    state = cases.member(target.origin.rewound, 0)
    state = learner.restart(state, masks.apply(start, expected), expected, moments=False)

    @jax.jit
    def alone(state):
        data = jax.tree.map(jnp.asarray, cases.data())
        order = derive(key, "train", jnp.int32(1))
        return train(learner, data, state, expected, order, searches.PROTOCOL, start=START)

    trained, _ = alone(state)
    cases.assert_close(params, trained.learner.params, 1e-5)
    moved = np.abs(
        params["hidden_1"]["kernel"] - masks.apply(start, expected)["hidden_1"]["kernel"]
    )
    assert moved.max() > 1e-3
