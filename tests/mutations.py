"""Ways in which a file goes bad, each a function of a random generator, its bytes and others."""

from collections.abc import Callable

import numpy as np

Mutation = Callable[[np.random.Generator, bytes, bytes], bytes | None]
"""`mutation(rng, content, foreign) -> content`; `None` for a file that is gone."""


def flip(rng, content, foreign, bits=1):
    changed = bytearray(content)
    for place in rng.integers(8 * len(content), size=bits):
        changed[place // 8] ^= 1 << int(place % 8)
    return bytes(changed)


def flip_several(rng, content, foreign):
    return flip(rng, content, foreign, int(rng.integers(2, 33)))


def truncate(rng, content, foreign):
    return content[: rng.integers(len(content))]


def zero_block(rng, content, foreign):
    begin, end = _chunk(rng, content)
    return content[:begin] + bytes(end - begin) + content[end:]


def swap_chunks(rng, content, foreign):
    a, b, c, d = np.sort(rng.integers(len(content) + 1, size=4))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def repeat_chunk(rng, content, foreign):
    begin, end = _chunk(rng, content)
    return content[:end] + content[begin:end] + content[end:]


def drop_chunk(rng, content, foreign):
    begin, end = _chunk(rng, content)
    return content[:begin] + content[end:]


def insert(rng, content, foreign):
    place = rng.integers(len(content) + 1)
    return content[:place] + rng.bytes(int(rng.integers(1, 65))) + content[place:]


def graft(rng, content, foreign):
    """The beginning of this file and the end of another."""
    return content[: rng.integers(len(content))] + foreign[rng.integers(len(foreign)) :]


def noise(rng, content, foreign):
    return rng.bytes(len(content))


def empty(rng, content, foreign):
    return b""


def replace(rng, content, foreign):
    return foreign


def remove(rng, content, foreign):
    return None


MUTATIONS: dict[str, Mutation] = {
    one.__name__: one
    for one in (
        flip,
        flip_several,
        truncate,
        zero_block,
        swap_chunks,
        repeat_chunk,
        drop_chunk,
        insert,
        graft,
        noise,
        empty,
        replace,
        remove,
    )
}

_ONCE = {"empty", "replace", "remove"}
"""What gives the same every time; a long stream has few of them."""


def draw(rng: np.random.Generator) -> str:
    """Draws the name of a mutation; flips and cuts more often than what has no variety."""
    names = list(MUTATIONS)
    weights = np.array([0.1 if name in _ONCE else 1.0 for name in names])
    return str(rng.choice(names, p=weights / weights.sum()))


def _chunk(rng, content):
    begin = int(rng.integers(len(content)))
    return begin, min(len(content), begin + int(rng.integers(1, max(2, len(content) // 4))))
