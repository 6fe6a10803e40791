"""A figure that cannot be drawn costs a run its figures, never its results."""

import io

import fuzz_kinds
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from experiments import lenet
from experiments.common.drawing import save_figures
from jaxticket import plots, runs
from jaxticket.errors import StorageError


def again(out):
    """The command of a small run whose networks are all there, its last files not."""
    (out / "summary.json").unlink(missing_ok=True)
    return lenet.main([*fuzz_kinds.WORDS, "--out", str(out)], Console(file=io.StringIO()))


@pytest.mark.slow
def test_results_and_verdicts_are_whole_without_figures(tmp_path, capsys, monkeypatch):
    out = fuzz_kinds.copy(tmp_path / "run")
    (out / "results.nc").unlink()
    with monkeypatch.context() as changed:
        changed.setattr(plots, "learning_curves", lambda results: Figure().no_such_thing)
        assert again(out) == 1
        # Only printing it says so too.
        said = [capsys.readouterr().err]
        assert lenet.main([*fuzz_kinds.WORDS, "--out", str(out)]) == 1
        said.append(capsys.readouterr().err)
    for text in said:
        assert "error: figures: could not be drawn (AttributeError: 'Figure' object" in text
        assert f"remove {out / 'summary.json'} and rerun the same command\n" in text
    run = runs.load(out)
    assert run.summary["figures"] == []
    assert {claim["id"] for claim in run.summary["claims"]}
    assert {"test_accuracy", "kept"} <= set(run.results)
    assert again(out) == 0
    assert "undrawn" not in runs.load(out).summary


def test_figures_before_the_one_that_fails_are_kept(tmp_path):
    class Broken(Figure):
        """Fails where it is rendered."""

        def savefig(self, *given, **options):
            raise ValueError("Axis limits cannot be\nNaN or Inf")

    figures = {"first": Figure((1, 1)), "second": Broken((1, 1))}
    found = save_figures(tmp_path, lambda: figures)
    assert found == {
        "figures": ["first"],
        "undrawn": "ValueError: Axis limits cannot be NaN or Inf",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["first.png"]


def test_a_disk_that_refuses_a_figure_is_still_an_error(tmp_path):
    (tmp_path / "figures").touch()
    with pytest.raises(StorageError, match="figures: cannot be written"):
        save_figures(tmp_path / "figures", lambda: {"first": Figure((1, 1))})
