"""Heads of a detector. Pure data: each is implemented by a class that is imported when it is needed.

To add one, write its class (a `tasks.detection.heads.base.Head`) and a line here. Or do both in a package of your own (see
`plugins`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from pixeldistill.plugins import with_installed


@dataclass(frozen=True)
class HeadKind:
    """Properties of a head that recipes need.

    implementation: `module:class` of its `tasks.detection.heads.base.Head`.
    anchored: whether boxes are relative to anchors of several shapes, rather than to one point a place.
    norm_groups: number of groups into which its norms divide the channels. 0 without group norms.
    """

    implementation: str
    anchored: bool
    norm_groups: int = 0


_OWN = {
    "retinanet": HeadKind("pixeldistill.tasks.detection.heads.retinanet:RetinaNetHead", anchored=True),
    "fcos": HeadKind("pixeldistill.tasks.detection.heads.fcos:FCOSHead", anchored=False, norm_groups=32),
}


@cache
def heads() -> Mapping[str, HeadKind]:
    """Return all heads by name, including those of installed packages. Raises PluginError."""
    return with_installed("heads", _OWN, HeadKind)
