"""Tickets used elsewhere: on another data set, with another optimizer, at another depth or width.

A ticket is (m, θ_k), a mask and the weights at the rewind step, of a finished search.
"""

from jaxticket.transfer.carrying import ARMS, Layers, Renewed, carry, check_arms
from jaxticket.transfer.depth import UnitMap, stretch, unit_map
from jaxticket.transfer.gathering import Transfer
from jaxticket.transfer.keeping import Transferred, beside
from jaxticket.transfer.population import transfer
from jaxticket.transfer.tickets import Ticket, Tickets, tickets_of
from jaxticket.transfer.width import widen

__all__ = [
    "ARMS",
    "Layers",
    "Renewed",
    "Ticket",
    "Tickets",
    "Transfer",
    "Transferred",
    "UnitMap",
    "beside",
    "carry",
    "check_arms",
    "stretch",
    "tickets_of",
    "transfer",
    "unit_map",
    "widen",
]
