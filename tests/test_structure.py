"""Units are found from the traced network: with all they depend on, and why others are none."""

import re

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from jaxticket import MaskError, TicketError, allocate, masks, models, prune
from jaxticket.structure import all_units, choose, kept_of, mask_of, score_units, trace, zeroed
from jaxticket.types import Model


def graph_of(model, shape):
    return trace(model, *jax.eval_shape(model.init, jax.random.key(0)), shape)


def described(group):
    """Members as (path, axis), readers marked by an arrow."""
    return {f"{'→ ' if m.reads else ''}{m.path} {m.axis}" for m in group.members}


def test_channels_come_with_their_biases_and_with_what_they_are_flattened_to():
    graph = graph_of(models.conv_2((4, 4, 3), width_multiplier=0.05), (4, 4, 3))
    assert {group.name: group.size for group in graph.groups} == {
        "convolution_0/kernel": 3,
        "convolution_1/kernel": 3,
        "dense_0/kernel": 13,
        "dense_1/kernel": 13,
    }
    last = graph.groups[1]
    assert described(last) == {
        "convolution_1/kernel 3",
        "convolution_1/bias 0",
        "→ dense_0/kernel 0",
    }
    # A pool leaves 2 x 2 pixels, each with every channel.
    flat = next(m for m in last.members if m.reads)
    assert flat.units.tolist() == [0, 1, 2] * 4
    assert graph.forbidden["output/kernel", 1] == "it is the network's output"
    assert "the network's input" in graph.forbidden["convolution_0/kernel", 2]
    assert "the window of" in graph.forbidden["convolution_0/kernel", 0]


@pytest.mark.parametrize("lowering", ["canonical", "direct", "patches"])
def test_all_lowerings_have_the_same_structure(lowering):
    graph = graph_of(
        models.vgg_11((16, 16, 3), width_multiplier=0.03, lowering=lowering), (16, 16, 3)
    )
    assert len(graph.groups) == 8
    assert described(graph.groups[0]) == {
        "convolution_00/kernel 3",
        "convolution_00/bias 0",
        "norm_00/scale 0",
        "norm_00/bias 0",
        "batch_stats/norm_00/mean 0",
        "batch_stats/norm_00/var 0",
        "→ convolution_01/kernel 2",
    }
    assert described(graph.groups[-1]) >= {"→ output/kernel 0"}


RESIDUAL = models.resnet_20((8, 8, 3), width_multiplier=0.25)


def test_a_residual_stream_is_one_group_with_every_layer_that_writes_or_reads_it():
    graph = graph_of(RESIDUAL, (8, 8, 3))
    streams = [group for group in graph.groups if len(group.members) > 7]
    assert [group.size for group in streams] == [4, 8, 16]
    inner = [group for group in graph.groups if len(group.members) <= 7]
    assert len(inner) == 9
    assert described(inner[0]) == {
        "block_00/branch_0/convolution/kernel 3",
        "block_00/branch_0/norm/scale 0",
        "block_00/branch_0/norm/bias 0",
        "batch_stats/block_00/branch_0/norm/mean 0",
        "batch_stats/block_00/branch_0/norm/var 0",
        "→ block_00/branch_1/convolution/kernel 2",
    }
    written = {m.path for m in streams[1].members if m.path.endswith("kernel") and not m.reads}
    assert written == {
        "block_03/branch_1/convolution/kernel",
        "block_03/shortcut/convolution/kernel",
        "block_04/branch_1/convolution/kernel",
        "block_05/branch_1/convolution/kernel",
    }


def test_heads_are_units_of_query_key_and_value_and_normalised_streams_are_none():
    model = models.vision_transformer_tiny((8, 8, 3), depth=1, heads=3, width_multiplier=0.0625)
    graph = graph_of(model, (8, 8, 3))
    heads, hidden = graph.groups
    assert (heads.size, hidden.size) == (3, 48)
    assert described(heads) == {
        *(f"block_00/attention/{n}/kernel 1" for n in ("key", "query", "value")),
        *(f"block_00/attention/{n}/bias 0" for n in ("key", "query", "value")),
        "→ block_00/attention_projection/kernel 0",
    }
    assert heads.members[0].units.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    reason = graph.forbidden["block_00/dense_1/kernel", 1]
    assert re.search("units are mixed by 'reduce_sum' of .*norm_0 at .*normalization.py", reason)


# The matrix "a" gives four units, another one reads them; what happens between says which.

SHAPES = {"a": (3, 4), "b": (4, 2), "half": (2, 2), "other": (2, 2), "twice": (8, 2), "z": (3, 4)}
W = {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in SHAPES.items()}


def between(function):
    def apply(params, state, x, *, train, key=None):
        return function(params, x), state

    return Model(lambda key: (W, {}), apply)


ALLOWED = {
    "tanh": lambda p, x: jnp.tanh(x @ p["a"]) @ p["b"],
    "transposed": lambda p, x: jax.lax.dot_general(p["b"].T, x @ p["a"], (((1,), (1,)), ((), ()))),
    "checkpointed": lambda p, x: jax.checkpoint(jnp.sin)(x @ p["a"]) @ p["b"],
    "custom_derivative": lambda p, x: jax.nn.silu(jax.nn.relu(x @ p["a"])) @ p["b"],
    "gated": lambda p, x: (lambda h: (h[:, :2] * h[:, 2:]) @ p["half"])(x @ p["a"]),
    "read_twice": lambda p, x: jnp.concatenate([x @ p["a"]] * 2, axis=1) @ p["twice"],
}
WRITTEN_IN = jnp.arange(4.0)
FORBIDDEN = {
    "softmax": (lambda p, x: jax.nn.softmax(x @ p["a"]) @ p["b"], "mixed by 'reduce_max'"),
    "sorted": (lambda p, x: jnp.sort(x @ p["a"]) @ p["b"], "goes through 'sort'"),
    "running_sum": (lambda p, x: jnp.cumsum(x @ p["a"], 1) @ p["b"], "goes through 'cumsum'"),
    "summed": (lambda p, x: (x @ p["a"]).sum(1), "mixed by 'reduce_sum'"),
    "fixed_before_it_is_met": (
        lambda p, x: jnp.sort(x @ p["z"]) @ p["b"] + (x @ p["a"] + x @ p["z"]) @ p["b"],
        "goes through 'sort'",
    ),
    "padded": (lambda p, x: jnp.pad(x @ p["a"], ((0, 0), (0, 1)))[:, :4] @ p["b"], "padded"),
    "picked": (lambda p, x: (x @ p["a"])[:, 1], "entries are picked by 'slice'"),
    "strided": (lambda p, x: (x @ p["a"])[:, ::2] @ p["b"][::2], "entries are picked by 'slice'"),
    "looped": (
        lambda p, x: jax.lax.fori_loop(0, 2, lambda i, h: jnp.tanh(h), x @ p["a"]) @ p["b"],
        "goes through 'scan'",
    ),
    "shifted_weight": (lambda p, x: (x @ p["a"]) @ (p["b"] + 1), "not by a weight"),
    "constant": (
        lambda p, x: (x @ p["a"] * jnp.arange(4.0)[None]) @ p["b"],
        "the numbers of 'iota'",
    ),
    "written_in": (
        lambda p, x: (x @ p["a"] * WRITTEN_IN.reshape(1, 4)) @ p["b"],
        "an array that is no leaf of the params",
    ),
    "attended": (lambda p, x: (lambda h: h @ h.T)(x @ p["a"]), "not by a weight"),
    "with_the_input": (
        lambda p, x: (x @ p["a"] + jnp.concatenate([x, x[:, :1]], axis=1)) @ p["b"],
        "the parts of 'concatenate'",
    ),
}


@cases.every(ALLOWED)
def test_units_pass_through(name):
    graph = graph_of(between(ALLOWED[name]), (3,))
    (group,) = graph.groups
    given, read = (m.units.tolist() for m in group.members)
    assert given == ([0, 1, 0, 1] if name == "gated" else [0, 1, 2, 3])
    assert read == {"gated": [0, 1], "read_twice": [0, 1, 2, 3] * 2}.get(name, [0, 1, 2, 3])


@cases.every(FORBIDDEN)
def test_what_mixes_or_picks_units_forbids_their_removal_and_is_named(name):
    function, reason = FORBIDDEN[name]
    graph = graph_of(between(function), (3,))
    assert not graph.groups
    assert reason in graph.forbidden["a", 1]
    with pytest.raises(TicketError, match=re.escape(reason)):
        choose(graph, {"a": [True, True, True, False]})


def test_groups_of_channels_forbid_their_removal():
    class Grouped(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.Conv(4, (1, 1), name="first")(x)
            return linen.Conv(4, (3, 3), feature_group_count=2, name="grouped")(x).mean((1, 2, 3))

    graph = graph_of(models.from_linen(Grouped(), (4, 4, 2)), (4, 4, 2))
    assert not graph.groups
    assert "has groups of channels" in graph.forbidden["first/kernel", 3]


def test_a_residual_sum_of_unequal_channels_names_the_edge_that_forbids_it():
    graph = graph_of(RESIDUAL, (8, 8, 3))
    base, branch = "base/convolution/kernel", "block_01/branch_1/convolution/kernel"
    cut = [True, False, True, True]
    message = f"unit 1 of {branch}: one of {branch} and {base} removes it and the other keeps it"
    with pytest.raises(TicketError, match=f"{message}.*'add' of _ResNet/block_01 at .*_resnet.py"):
        choose(graph, {base: cut, branch: [True] * 4})
    kept = choose(graph, {base: cut, branch: cut})
    assert kept[base].tolist() == cut
    assert all(on.all() for name, on in kept.items() if name != base)
    with pytest.raises(TicketError, match=r"output/kernel: none .* it is the network's output"):
        choose(graph, {"output/kernel": [True] * 9 + [False]})
    with pytest.raises(TicketError, match="got \\(3,\\) of what it gives, expected bool\\[4\\]"):
        choose(graph, {base: [True] * 3})
    with pytest.raises(TicketError, match="unknown kernel 'base/kernel'"):
        choose(graph, {"base/kernel": cut})


def test_units_of_one_kernel_may_be_of_several_groups():
    model = between(
        lambda p, x: (lambda h: h[:, :2] @ p["half"] + h[:, 2:] @ p["other"])(x @ p["a"])
    )
    graph = graph_of(model, (3,))
    assert [(group.name, group.size) for group in graph.groups] == [("a", 2), ("a (2)", 2)]
    kept = choose(graph, {"a": [True, False, False, True]})
    assert {name: on.tolist() for name, on in kept.items()} == {
        "a": [True, False],
        "a (2)": [False, True],
    }


def test_parts_that_are_no_units_are_refused():
    model = between(lambda p, x: (lambda h: h[:, :2] @ p["half"] + h[:, 2:])(x @ p["a"]))
    graph = graph_of(model, (3,))
    assert choose(graph, {"a": [False, True, True, True]})["a"].tolist() == [False, True]
    with pytest.raises(TicketError, match=r"a: \[3\] cannot be removed, only other parts of"):
        choose(graph, {"a": [True, True, True, False]})


def test_part_of_a_head_is_refused():
    model = models.vision_transformer_tiny((4, 4, 3), depth=1, heads=2, width_multiplier=0.02)
    graph = graph_of(model, (4, 4, 3))
    with pytest.raises(
        TicketError, match=r"\[0, 1\] are one unit, expected all or none of them kept"
    ):
        choose(graph, {"block_00/attention/value/kernel": [False, True, True, True]})


SMALL = models.mlp((2, 1, 1), widths=(4, 3), outputs=2)


def params_of(model, seed=0):
    generator = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    draw = lambda leaf: generator.uniform(0.5, 1.5, leaf.shape).astype(np.float32)  # noqa: E731
    return jax.tree.map(draw, shapes)


def test_scores_of_units_are_sums_over_all_their_weights():
    params, _ = params_of(SMALL)
    graph = graph_of(SMALL, (2, 1, 1))
    found = score_units(graph, params)
    first, second, third = (params[name] for name in ("hidden_0", "hidden_1", "output"))
    expected = {
        "hidden_0/kernel": first["kernel"].sum(0) + first["bias"] + second["kernel"].sum(1),
        "hidden_1/kernel": second["kernel"].sum(0) + second["bias"] + third["kernel"].sum(1),
    }
    cases.assert_close(found, expected)
    alone = jax.tree.map(lambda leaf: None, params)
    alone["hidden_0"]["kernel"] = first["kernel"]
    made = score_units(graph, alone)
    np.testing.assert_allclose(made["hidden_0/kernel"], first["kernel"].sum(0), rtol=1e-6)
    assert not made["hidden_1/kernel"].any()


def test_scores_of_heads_count_every_entry():
    model = models.vision_transformer_tiny((4, 4, 3), depth=1, heads=2, width_multiplier=0.02)
    graph = graph_of(model, (4, 4, 3))
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), params_of(model)[0])
    name = graph.groups[0].name
    # Width 4, heads of 2: three kernels [4, 2], three biases [2], and a reader [2, 4].
    assert score_units(graph, ones)[name].tolist() == [3 * 8 + 3 * 2 + 8] * 2


@pytest.mark.parametrize("allocation", [allocate.globally(0.3), allocate.uniform(0.5)])
def test_units_are_pruned_level_by_level_by_any_allocation(allocation):
    params, _ = params_of(SMALL)
    graph = graph_of(SMALL, (2, 1, 1))
    kept, scores = all_units(graph), score_units(graph, params)
    for counts in prune.schedule(allocation, kept, 2)[1:]:
        after = allocation.select(scores, kept, counts)
        assert masks.is_subset(after, kept)
        assert sum(int(on.sum()) for on in after.values()) == sum(counts.values())
    with pytest.raises(MaskError, match="empties"):
        prune.schedule(allocate.uniform(0.9), kept, 3)


def test_masks_of_units_and_units_of_masks_are_inverse():
    for model, shape in ((SMALL, (2, 1, 1)), (RESIDUAL, (8, 8, 3))):
        graph = graph_of(model, shape)
        params, _ = params_of(model)
        dense = jax.tree.map(np.array, masks.ones(params))
        generator = np.random.default_rng(1)
        kept = {group.name: generator.random(group.size) < 0.6 for group in graph.groups}
        for on in kept.values():
            on[0] = True
        found = kept_of(graph, mask_of(graph, dense, kept))
        assert {name: on.tolist() for name, on in found.items()} == {
            name: on.tolist() for name, on in kept.items()
        }


def test_units_that_lead_to_removed_units_alone_go_too():
    graph = graph_of(SMALL, (2, 1, 1))
    mask = jax.tree.map(np.array, masks.ones(params_of(SMALL)[0]))
    mask["output"]["kernel"][2] = False
    mask["hidden_1"]["kernel"][1, :2] = False
    kept = kept_of(graph, mask)
    assert kept["hidden_1/kernel"].tolist() == [True, True, False]
    assert kept["hidden_0/kernel"].tolist() == [True, False, True, True]


def test_zeroed_params_are_zero_along_removed_units_and_untouched_elsewhere():
    graph, (params, _) = graph_of(SMALL, (2, 1, 1)), params_of(SMALL)
    kept = all_units(graph)
    kept["hidden_0/kernel"][1] = False
    found = jax.tree.map(np.asarray, zeroed(graph, params, kept))
    expected = jax.tree.map(np.array, params)
    expected["hidden_0"]["kernel"][:, 1] = 0
    expected["hidden_0"]["bias"][1] = 0
    expected["hidden_1"]["kernel"][1] = 0
    cases.assert_same_bits(found, expected)


def test_a_choice_for_another_network_is_refused():
    graph, (params, _) = graph_of(SMALL, (2, 1, 1)), params_of(SMALL)
    with pytest.raises(
        TicketError, match="hidden_1/kernel: kept has nothing, expected bool\\[3\\]"
    ):
        zeroed(graph, params, {"hidden_0/kernel": np.ones(4, bool)})
    with pytest.raises(TicketError, match="unknown group of units 'hidden_2/kernel': did you mean"):
        zeroed(graph, params, {**all_units(graph), "hidden_2/kernel": np.ones(4, bool)})
    with pytest.raises(TicketError, match=r"kept has \(5,\), expected bool\[4\]"):
        zeroed(graph, params, {**all_units(graph), "hidden_0/kernel": np.ones(5, bool)})
