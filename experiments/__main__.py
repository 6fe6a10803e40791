"""Lists the experiments: `python -m experiments`."""

from pathlib import Path

from experiments.common import listing


def questions() -> dict[str, str]:
    """Reads the first line of every experiment's docstring, without importing any.

    Returns:
      The question by module name; what is no experiment comes last.
    """
    return listing.questions(Path(__file__).parent)


if __name__ == "__main__":
    print(listing.listing("experiments", questions()))
