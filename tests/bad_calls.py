"""Uses of the library that make no sense: what is called, and what is said of it."""

from fractions import Fraction
from pathlib import Path

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import searches

from jaxticket import (
    Examples,
    Plan,
    Protocol,
    allocate,
    analysis,
    arms,
    criteria,
    data,
    learned_masks,
    learners,
    masks,
    models,
    optimizers,
    population,
    prune,
    recipes,
    runs,
    topology,
)
from jaxticket.imp import Variant
from jaxticket.recipes import Step
from jaxticket.records import Memory

KEY = jax.random.key(0)
PARAMS = {"hidden": {"kernel": np.ones((4, 6), np.float32), "bias": np.ones(6, np.float32)}}
MASK = masks.ones(PARAMS)
OTHER = masks.ones({"other": {"kernel": np.ones((4, 6), np.float32)}})
EMPTY = {"hidden": {"kernel": None, "bias": None}}
IMAGE = (28, 28, 1)
DIGITS = data.load("digits")


TRAIN = cases.data()["train"]
LENET = models.lenet_300_100()


class Another(Memory):
    """Holds what another search has kept."""

    def load(self, template):
        found = searches.finished()
        return found.origins, found.records[:1]


def schedule(allocation, levels=3, mask=MASK):
    return prune.schedule(allocation, mask, levels)


def recipe(**changes):
    recipes.check_recipe(recipes.Recipe(**changes))


ROWS = [
    # Masks.
    ("masks.ones", lambda: masks.ones({"bias": np.ones(3)}), "no leaf of .* is prunable"),
    ("masks.ones of nothing", lambda: masks.ones({}), "prunable: no leaf of"),
    ("masks.matching", lambda: masks.ones(PARAMS, masks.matching("*/wieght")), "no leaf"),
    ("masks.density", lambda: masks.density(EMPTY), "density: got a mask without"),
    ("masks.check of others", lambda: masks.check(OTHER, PARAMS), "mask does not fit params"),
    (
        "masks.check of a shape",
        lambda: masks.check({"hidden": {"kernel": np.ones((6, 4), bool), "bias": None}}, PARAMS),
        "hidden/kernel",
    ),
    (
        "masks.check of a dtype",
        lambda: masks.check({"hidden": {"kernel": np.ones((4, 6)), "bias": None}}, PARAMS),
        "hidden/kernel",
    ),
    ("masks.overlap", lambda: masks.overlap(MASK, OTHER), "overlap: got masks over"),
    # Allocations and schedules.
    ("uniform 0", lambda: allocate.uniform(0.0), "prune rate of .*: got 0.0, expected a share"),
    ("uniform 1", lambda: allocate.uniform(1.0), "prune rate of .*: got 1.0"),
    ("globally nan", lambda: allocate.globally(float("nan")), "prune rate: got nan"),
    ("layerwise", lambda: allocate.layerwise({"*": -0.2}), "got -0.2"),
    (
        "layerwise without a layer",
        lambda: schedule(allocate.layerwise({"output/*": 0.2})),
        "no pattern for .*hidden/kernel.*, no layer for",
    ),
    ("erdos_renyi", lambda: allocate.erdos_renyi(2.0), "got 2.0"),
    (
        "densities that rise",
        lambda: schedule(allocate.globally((0.2, 0.4))),
        "densities: got .*each below the one before",
    ),
    (
        "densities for other levels",
        lambda: schedule(allocate.globally((0.5, 0.4)), 4),
        "densities: got 2, expected 3",
    ),
    ("n of m", lambda: allocate.n_of_m(4, 4), "n_of_m: got 4 of 4"),
    ("n of m, 0", lambda: allocate.n_of_m(0, 4), "n_of_m: got 0 of 4"),
    (
        "n of m, 2.0",
        lambda: allocate.n_of_m(2.0, 4),
        "n_of_m: got 2.0 of 4, expected whole numbers",
    ),
    ("n of m levels", lambda: schedule(allocate.n_of_m(2, 4), 3), "n_of_m: got 3 levels"),
    ("n of m axis", lambda: schedule(allocate.n_of_m(1, 2, axis=5), 2), "n_of_m: got axis 5"),
    ("per output", lambda: allocate.per_output(1.0), "prune rate: got 1.0"),
    ("n of m size", lambda: schedule(allocate.n_of_m(1, 3, axis=0), 2), "does not divide"),
    ("blocks of 0", lambda: allocate.blocks(0.5, (0, None)), "blocks: got shape"),
    ("blocks of 5", lambda: schedule(allocate.blocks(0.5, (3, None)), 2), "3 does not divide"),
    (
        "blocks of three axes",
        lambda: schedule(allocate.blocks(0.5, (1, 1, 1)), 2),
        "blocks: got 3 sizes",
    ),
    ("units at least", lambda: allocate.units(0.5, at_least=-1), "units: got at_least -1"),
    ("units axis", lambda: schedule(allocate.units(0.5, axis=4), 2), "units: got axis 4"),
    (
        "units without a last layer",
        lambda: schedule(allocate.units(0.5), 2),
        "units: dense .* none",
    ),
    ("costs", lambda: schedule(allocate.by_cost(0.5, {"*": 0}), 2), "costs: got"),
    (
        "smart ratio",
        lambda: schedule(allocate.smart_ratio(0.5, layers=["a", "b"]), 2),
        "smart_ratio: got layers",
    ),
    ("no levels", lambda: schedule(allocate.globally(0.2), 0), "levels: got 0"),
    ("too many levels", lambda: schedule(allocate.globally(0.9), 9), "the schedule empties"),
    ("too small a rate", lambda: schedule(allocate.globally(0.01), 2), "prunes nothing at level 1"),
    (
        "a budget",
        lambda: allocate.apportion(9, {"a": Fraction(1)}, {"a": 4}),
        "budget: got 9 weights for a",
    ),
    # Criteria.
    ("criterion", lambda: criteria.by_name("magnitud"), "did you mean 'magnitude'"),
    ("inverse criterion", lambda: criteria.by_name("inverse_snop"), "snip"),
    ("iterative 0", lambda: criteria.iterative(criteria.snip(), 0), "rounds: got 0"),
    (
        "iterative schedule",
        lambda: criteria.iterative(criteria.snip(), 3, "exponentiall"),
        "unknown schedule of rounds 'exponentiall'",
    ),
    ("grasp", lambda: criteria.grasp(temperature=0.0), "grasp: got temperature 0.0"),
    ("synflow rounds", lambda: criteria.synflow(0), "rounds: got 0"),
    ("synflow scale", lambda: criteria.synflow(scale=-1.0), "synflow: got scale -1.0"),
    ("obd probes", lambda: criteria.hessian_diagonal(probes=0), "got probes 0"),
    ("obd chunk", lambda: criteria.hessian_diagonal(chunk=0), "got chunk 0"),
    ("obs", lambda: criteria.optimal_brain_surgeon(0.0), "damping: got 0.0"),
    ("koopman", lambda: criteria.koopman_magnitude(snapshots=1), "got snapshots 1"),
    ("koopman every", lambda: criteria.koopman_gradient(every=0), "got every 0"),
    ("koopman rank", lambda: criteria.koopman_gradient(rank=0), "got rank 0"),
    (
        "koopman for so short a training",
        lambda: searches.search(criterion=criteria.koopman_magnitude(every=100)),
        "koopman_magnitude must have watched 100 steps",
    ),
    (
        "movement before training",
        lambda: searches.search(criterion=criteria.movement(), pruning="at_start"),
        "criterion: movement scores what training changed",
    ),
    # Training.
    ("steps", lambda: Protocol(0, 2, 2), "steps: got 0"),
    ("batch size", lambda: Protocol(2, 0, 2), "batch_size: got 0|batch size: got 0"),
    ("evaluations", lambda: Protocol(2, 2, 0), "evaluate_every: got 0|evaluate every: got 0"),
    ("larger batch", lambda: searches.search(protocol=Protocol(4, 999, 2)), "batch size"),
    ("rewind step", lambda: searches.search(rewind_step=6), "rewind step: got 6, expected 0 to 5"),
    ("negative rewind step", lambda: searches.search(rewind_step=-1), "rewind step: got -1"),
    ("arms", lambda: searches.search(arms=("ticket", "reint")), "unknown arm 'reint'"),
    ("no arm", lambda: arms.check_arms(()), "arms: got none"),
    ("replicates", lambda: searches.search(replicates=0), "replicates: got 0"),
    ("levels", lambda: searches.search(levels=0), "levels: got 0"),
    ("pruning", lambda: searches.search(pruning="one_shot"), "unknown pruning 'one_shot'.*oneshot"),
    ("no variants", lambda: searches.search(variants={}), "variants"),
    (
        "a variant's rewind step",
        lambda: searches.search(variants={"late": Variant(rewind_step=9)}),
        "variant 'late': rewind step: got 9",
    ),
    ("no training data", lambda: searches.search(data={}), "train"),
    # What is of another kind.
    ("a model for a learner", lambda: searches.search(learner=cases.handwritten()), "got a Model"),
    ("a family alone", lambda: searches.search(learner=lambda rate: None), "and none to give it"),
    (
        "hyperparameters for a learner",
        lambda: searches.search(variants={"a": Variant({"rate": 1.0})}),
        "hyperparameters of 'a' with a learner that is made already",
    ),
    ("a data set", lambda: searches.search(data=DIGITS), "data: got a Dataset, expected splits"),
    (
        "a pair of arrays",
        lambda: searches.search(data={"train": tuple(cases.data()["train"])}),
        "got batches of the type tuple, expected jaxticket.Examples",
    ),
    (
        "a split named like the curves of another",
        lambda: searches.search(data=cases.data() | {"train_eval": cases.data()["train"]}),
        "since its curves would be taken for those of train; call it eval_train, for instance",
    ),
    (
        "an empty split",
        lambda: searches.search(data=cases.data() | {"validation": None}),
        "a split 'validation' without examples",
    ),
    (
        "too few labels",
        lambda: searches.search(data={"train": Examples(DIGITS.train[0], DIGITS.train[1][:9])}),
        "a split 'train' whose arrays have 9 and 1257 rows",
    ),
    (
        "a class too many",
        lambda: searches.search(data={"train": TRAIN._replace(labels=TRAIN.labels + 5)}),
        "the label 7 in the split 'train', expected 0 to 2: the network has 3 outputs",
    ),
    (
        "images of floats",
        lambda: searches.search(data={"train": TRAIN._replace(images=TRAIN.images / 255)}),
        "got float.* images, which would be divided by 255, expected uint8",
    ),
    ("an old key", lambda: searches.search(key=jax.random.PRNGKey(0)), "key: got .*typed key"),
    ("a text for a criterion", lambda: searches.search(criterion="snip"), "the text 'snip'.*by_na"),
    ("a function for a criterion", lambda: searches.search(criterion=criteria.snip), "snip itself"),
    ("a rate", lambda: searches.search(allocation=0.2), "allocation: got 0.2, expected an Alloca"),
    ("a text for a plan", lambda: searches.search(plan="vmap"), "plan: got the text 'vmap'"),
    ("half a replicate", lambda: searches.search(together=0.5), "together: got 0.5, expected"),
    ("no replicates", lambda: searches.search(together=0), "together: got 0 replicates, expected"),
    ("a text for a store", lambda: searches.search(store="runs/a"), "CheckpointStore"),
    ("a text for a path", lambda: searches.search(prunable="*/kernel"), "masks.matching"),
    ("a text for arms", lambda: searches.search(arms="ticket"), "arms: got the text 'ticket'"),
    ("a text for an action", lambda: searches.search(action="reinit"), "action: got the text"),
    ("a number for scoring", lambda: searches.search(scoring=500), "scoring: got 500, expected"),
    ("half a level", lambda: searches.search(levels=2.5), "levels: got 2.5, expected a whole"),
    ("replicates of text", lambda: searches.search(replicates="2"), "replicates: got the text '2'"),
    ("half a step", lambda: Protocol(6.5, 4, 3), "steps: got 6.5, expected a whole number"),
    (
        "test curves by number",
        lambda: Protocol(6, 4, 3, test_curves=1),
        "test_curves: got 1, expected True or False",
    ),
    ("steps of text", lambda: Protocol("5ep", 4, 3), "steps: got '5ep', expected a whole number"),
    ("a dict for a variant", lambda: searches.search(variants={"a": {}}), "expected an imp.Varian"),
    (
        "a variant's criterion",
        lambda: searches.search(variants={"a": Variant(criterion="snip")}),
        "criterion of variant 'a': got the text 'snip'",
    ),
    (
        "hyperparameters of text",
        lambda: searches.search(variants={"a": Variant("fast")}),
        "hyperparameters of variant 'a': got the text 'fast', expected numbers",
    ),
    ("an optimizer's name", lambda: learners.supervised(LENET, "adam"), "optimizer: got a str"),
    ("no optimizer", lambda: learners.supervised(LENET, optax.adam), "optimizer: got a function"),
    ("no model", lambda: learners.supervised(optax.adam, optax.adam(0.1)), "model: got a function"),
    (
        "the store of another key",
        lambda: searches.search(key=jax.random.key(9), store=Another()),
        "store: holds networks of other initial weights",
    ),
    (
        "the store of other steps",
        lambda: searches.search(protocol=Protocol(7, 4, 3), store=Another()),
        "store: holds networks that were evaluated at the steps 0, 3, 6, expected 0, 3, 6, 7",
    ),
    ("repulsion", lambda: searches.search(repulsion=float("nan")), "repulsion"),
    (
        "masked without params",
        lambda: optimizers.masked(optax.sgd(0.1)).update(PARAMS, optax.EmptyState(), mask=MASK),
        "got params=None",
    ),
    # Plans.
    ("plan", lambda: Plan.by_name("vmpa", 4), "unknown plan 'vmpa'"),
    ("variant of a result", lambda: searches.finished().only("x"), "unknown variant 'x'"),
    ("plan name", lambda: population.check_plan_name("gpu"), "unknown plan 'gpu'"),
    ("plan chunk", lambda: Plan("vmap", chunk=0), "plan: got chunk 0"),
    ("plan devices", lambda: Plan("map", devices=99), "plan: got 99 devices"),
    ("plan batch devices", lambda: Plan("map", batch_devices=0), "got 1 devices with 0 for each"),
    ("plan batch", lambda: Plan("map", batch=3), "plan: got batch 3 for map"),
    # Data.
    ("data set", lambda: data.load("digist"), "unknown data set 'digist'"),
    ("data path", lambda: data.load("mnist", path="/nonexistent"), "/nonexistent"),
    ("classes", lambda: data.only_classes(DIGITS, (0, 99)), "99"),
    ("no classes", lambda: data.only_classes(DIGITS, ()), "classes"),
    ("resized", lambda: data.resized(DIGITS, 0, 8), "0"),
    ("resize method", lambda: data.resized(DIGITS, 8, 8, "cubicc"), "cubic"),
    ("stacked", lambda: data.stacked(()), "got none|got nothing|at least"),
    ("stacked sizes", lambda: data.stacked((DIGITS, data.resized(DIGITS, 4, 4))), "shape|resized"),
    ("augmentation", lambda: recipe(augment=("flop",)), "unknown augmentation 'flop'"),
    ("augmentation size", lambda: recipe(augment=("crop=-4",)), "augmentation crop"),
    ("augmentation word", lambda: recipe(augment=("crop=x",)), "augmentation crop"),
    # Networks.
    ("image", lambda: models.conv_2((28,)), r"input_shape=\(28,\)"),
    ("outputs", lambda: models.lenet_300_100(IMAGE, 0), "classes=0"),
    ("width", lambda: models.resnet_20(width_multiplier=0), "width_multiplier=0"),
    ("dropout", lambda: models.conv_2(dropout_rate=1.0), "dropout_rate=1.0"),
    ("initializer", lambda: models.lenet_5(initializer="he"), "unknown initializer 'he'"),
    ("widths", lambda: models.mlp(IMAGE, (0,)), "widths"),
    ("patch", lambda: models.vision_transformer_tiny(patch=5), "patch=5 does not divide"),
    ("heads", lambda: models.vision_transformer_tiny(heads=0), "heads"),
    ("pooling", lambda: models.vision_transformer_tiny(pooling="tokn"), "unknown pooling 'tokn'"),
    (
        "pool",
        lambda: models.max_pool(jnp.ones((1, 2, 2, 1)), (3, 3)),
        "at least 3 x 3 pixels",
    ),
    (
        "convolution",
        lambda: models.convolve(jnp.ones((1, 4, 4, 3)), jnp.ones((3, 3, 2, 1))),
        "x.shape.3. to be groups times",
    ),
    ("rank", lambda: models.convolve(jnp.ones((4, 4, 3)), jnp.ones((3, 3, 3, 1))), "convolve"),
    # Recipes.
    ("recipe", lambda: recipes.by_name("lenet-2018"), "lenet-2019"),
    ("a step without a unit", lambda: Step.parse("600"), "got 600, expected a number with a unit"),
    ("a step of text", lambda: Step.parse("many"), "got many"),
    ("a negative step", lambda: Step.parse("-1it"), "got -1it"),
    ("half an iteration", lambda: Step.parse("0.5it"), "expected whole iterations"),
    ("steps an epoch", lambda: Step.parse("1ep").at(0), "steps an epoch: got 0"),
    ("recipe's model", lambda: recipe(model="lenet"), "unknown model 'lenet'"),
    ("recipe's optimizer", lambda: recipe(optimizer="sdg"), "did you mean 'sgd'"),
    ("recipe's schedule", lambda: recipe(schedule="cosin"), "unknown schedule 'cosin'"),
    ("recipe's rate", lambda: recipe(learning_rate=float("inf")), "--learning-rate: got inf"),
    ("recipe's decay", lambda: recipe(weight_decay=-1.0), "--weight-decay: got -1.0"),
    ("recipe's clip", lambda: recipe(gradient_clip=0.0), "--gradient-clip: got 0.0"),
    ("recipe's smoothing", lambda: recipe(label_smoothing=1.0), "--label-smoothing: got 1.0"),
    ("recipe's rewind", lambda: recipe(rewind_step=Step.parse("99999it")), "--rewind-step"),
    ("an optimizer", lambda: recipes.make_optimizer("adm", 0.1), "did you mean 'adam'"),
    # Masks that change or are learned.
    ("due", lambda: topology.rigl(every=0, stop=9, fraction=0.3), "every: got 0"),
    ("stop", lambda: topology.set_(every=5, stop=3, fraction=0.3), "stop: got 3"),
    ("fraction", lambda: topology.rigl(every=1, stop=9, fraction=0.0), "fraction: got 0.0"),
    (
        "levels of a mask that changes",
        lambda: searches.search(learner=learners.sparse(cases.learner(), topology.static())),
        "levels: got 3, expected 1: the learner of learners.sparse",
    ),
    (
        "gradual koopman",
        lambda: topology.gradual(
            allocate.globally,
            0.5,
            begin=1,
            end=9,
            every=4,
            criterion=criteria.koopman_gradient(every=9),
        ),
        "gradual: koopman_gradient must have watched 9 steps",
    ),
    ("edge popup", lambda: learned_masks.edge_popup(1.5), "1.5"),
    ("straight through", lambda: learned_masks.straight_through_magnitude(0.0), "0.0"),
    # Instruments and runs.
    ("a run", lambda: runs.load("/nonexistent"), "/nonexistent"),
    ("results", lambda: runs.read_results(Path("/nonexistent/results.nc")), "not there"),
    (
        "local dimension",
        lambda: analysis.local_dimension(np.ones(3), 0.0, np.ones(2), dimension=3),
        "rise 0.0",
    ),
]
