"""Laws of transfer: a ticket at home is the native one, elsewhere it is what its parts say."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import searches

from jaxticket import TicketError, learners, masks, models, structure, transfer
from jaxticket.imp import Variant
from jaxticket.keys import derive
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


def carried(arm, renewed):
    result = search()
    row = transfer.tickets_of(result).row("slow", 1, 1)
    ticket = Ticket(
        result.network("ticket", 1, 1, "slow").mask,
        *cases.member((result.origin.rewound.params, result.origin.rewound.model_state), row),
    )
    key = derive(jax.random.key(0), "replicate", jnp.int32(1))
    state = cases.member(result.origin.rewound, 2 + 1)
    learner = family({"learning_rate": 0.1})
    made, mask = transfer.carry(learner, ticket, state, key, jnp.int32(1), arm, renewed)
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


def test_tickets_of_another_network_are_refused_by_the_leaf_that_differs():
    source = transfer.tickets_of(search())
    params = source.params | {"output": {"kernel": np.zeros((4, 5, 4)), "bias": np.zeros((4, 4))}}
    with pytest.raises(TicketError, match=r"output/bias is \(4,\) in the source and \(3,\) in"):
        ask(source=source._replace(params=params))
