"""Matrices reach LAPACK one at a time: a batch of them can stop XLA's threads for ever."""

import ast
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import criteria, isometry, models
from jaxticket.analysis import jacobian_singular_values
from jaxticket.criteria import Evidence
from jaxticket.decompositions import matrix_by_matrix
from jaxticket.population import Plan, populate
from jaxticket.types import Objective

LIBRARY = Path(__file__).parents[1] / "jaxticket"
ROOMS = ("jnp.linalg", "jax.numpy.linalg", "jax.scipy.linalg")
HARMLESS = ("norm", "multi_dot", "matrix_power", "block_diag")
KEY = jax.random.key(0)
LINEAR = Objective(lambda x: x, lambda p, s, x, **_: (x @ p["w"], s), lambda outputs, x: outputs)


def batches(text):
    """Lists the leading sizes of LAPACK's operands that are more than a matrix."""
    calls = re.findall(r"custom_call @lapack_\w+\(.*", text)
    assert calls, "no LAPACK call: nothing is shown"
    shapes = [shape for call in calls for shape in re.findall(r"tensor<((?:\d+x){3,})", call)]
    return [shape for shape in shapes if not shape.startswith("1x")]


def weights(number=3):
    return {"w": jax.random.normal(KEY, (number, 5, 4))}


def surgeon(w):
    evidence = Evidence(w, w, KEY, None, {}, jnp.ones((6, 5)), LINEAR)
    return criteria.optimal_brain_surgeon(damping=0.1).score((), evidence)


def modes(w):
    return criteria.dynamic_modes({"w": w["w"]}).eigenvalues


PROGRAMS = {
    "singular values": lambda w: jacobian_singular_values(LINEAR.apply, w, {}, jnp.ones((6, 5))),
    "orthogonalize": lambda w: isometry.orthogonalize(w, {"w": jnp.ones((5, 4), bool)}, gain=1.0),
    "surgeon": surgeon,
    "dynamic modes": modes,
    "orthogonal start": lambda w: models.mlp((5, 4, 3), initializer="orthogonal").init(
        jax.random.key(jnp.sum(w["w"]).astype(int))
    ),
}


@pytest.mark.parametrize("inside", ["map", "vmap"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_hands_lapack_a_batch(name, inside):
    run = {"map": lambda f: lambda w: jax.lax.map(f, w), "vmap": jax.vmap}[inside]
    assert batches(jax.jit(run(PROGRAMS[name])).lower(weights()).as_text()) == []


def test_a_batch_is_seen():
    lowered = jax.jit(jax.vmap(jnp.linalg.svd)).lower(weights()["w"])
    assert batches(lowered.as_text())


def test_values_are_those_of_single_matrices():
    matrices = weights(6)["w"].reshape(2, 3, 5, 4)
    values = matrix_by_matrix(lambda m: jnp.linalg.svd(m, compute_uv=False))
    found = jax.jit(jax.vmap(jax.vmap(values)))(matrices)
    np.testing.assert_allclose(found, np.linalg.svd(matrices, compute_uv=False), rtol=1e-5)


def test_two_devices_come_to_an_end():
    run = populate(PROGRAMS["singular values"], Plan("map", devices=2))
    assert np.isfinite(run(weights(4))).all()


def decompositions(file):
    """Yields calls of decompositions outside of what `matrix_by_matrix` is given."""
    waiting = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        wrapped = getattr(node, "decorator_list", [getattr(node, "func", None)])
        if any(isinstance(w, ast.Name) and w.id == "matrix_by_matrix" for w in wrapped):
            continue
        waiting.extend(ast.iter_child_nodes(node))
        if not isinstance(node, ast.Attribute) or node.attr in HARMLESS:
            continue
        if ast.unparse(node.value) in ROOMS:
            yield f"{file.name}:{node.lineno}"


def test_the_library_decomposes_matrices_nowhere_else():
    assert [found for file in sorted(LIBRARY.rglob("*.py")) for found in decompositions(file)] == []
