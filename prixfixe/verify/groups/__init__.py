"""The cases, group by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.verify.cases import GROUPS
from prixfixe.verify.groups import (
    durability,
    health,
    image,
    limits,
    observability,
    running,
    security,
    smtp,
    tls,
)

if TYPE_CHECKING:
    from prixfixe.verify.cases import Case

__all__ = ["all_cases"]

MODULES = (image, running, smtp, limits, durability, health, security, tls, observability)


def all_cases() -> list[Case]:
    """Return every case, in the order of the groups, which is that of their cost.

    Raises:
        ValueError: an id is used twice, or its group is not known.

    """
    order = list(GROUPS)
    found = [one for module in MODULES for one in module.cases()]
    names = [one.id for one in found]
    if len(set(names)) != len(names) or not {one.group for one in found} <= set(order):
        msg = "ids of cases are used twice, or have no group"
        raise ValueError(msg)
    return sorted(found, key=lambda one: (order.index(one.group), one.id))
