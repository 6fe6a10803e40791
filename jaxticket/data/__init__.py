"""Data sets of labelled images, from files that are already there wherever that is possible.

>>> from jaxticket import data
>>> data.load("digits").train.labels[:5].tolist()
[0, 1, 2, 3, 4]
"""

from jaxticket.data.dataset import DataError, Dataset
from jaxticket.data.registry import available, is_there, load
from jaxticket.data.streaming import streamed
from jaxticket.data.tasks import only_classes, permuted, resized, stacked, unstacked

__all__ = [
    "DataError",
    "Dataset",
    "available",
    "is_there",
    "load",
    "only_classes",
    "permuted",
    "resized",
    "stacked",
    "streamed",
    "unstacked",
]
