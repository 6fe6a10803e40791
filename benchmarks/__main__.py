"""Lists the benchmarks: `python -m benchmarks`."""

from pathlib import Path

from experiments.common import listing


def questions() -> dict[str, str]:
    """Reads the first line of every benchmark's docstring, without importing any.

    Returns:
      The question by module name.
    """
    return listing.questions(Path(__file__).parent)


if __name__ == "__main__":
    print(listing.listing("benchmarks", questions()))
