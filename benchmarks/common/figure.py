"""The figure of `benchmarks.scaling`."""

from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from benchmarks.common.report import Row
from jaxticket.plots import style


def draw(rows: list[Row]) -> Figure:
    """Draws time per ticket-step and memory against the number of tickets.

    Args:
      rows: of `benchmarks.scaling`.

    Returns:
      The figure, one row of axes a network.
    """
    models = list(dict.fromkeys(row["model"] for row in rows))
    names = list(dict.fromkeys(row["strategy"] for row in rows))
    looks = dict(zip(names, style.APPEARANCES.values(), strict=False))
    figure, panels = style.panels(2, 9.0, 0.8 + 2.6 * len(models), len(models))
    entries = {}
    for place, model in enumerate(models):
        quantities = (("milliseconds", "ms a ticket-step"), ("mebibytes", "memory, MiB"))
        for axes, (key, label) in zip(panels[2 * place :], quantities, strict=False):
            for name in names:
                chosen = [r for r in rows if r["model"] == model and r["strategy"] == name]
                entries[name] = axes.plot(
                    [row["tickets"] for row in chosen],
                    [row[key] for row in chosen],
                    color=looks[name].colour,
                    marker=looks[name].marker,
                    markersize=4.5,
                    linewidth=1.3,
                )[0]
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.set(xlabel="tickets", ylabel=label)
            axes.title.set_text(model)
            if key == "milliseconds":
                axes.set_ylim(bottom=0)
            else:
                axes.set_yscale("log", base=2)
                axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    style.legend(figure, entries, len(entries), "lower center")
    return figure
