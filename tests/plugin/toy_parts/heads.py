"""RetinaNet's head, whose boxes are read from the same maps as its classes."""

from pixeldistill.recipe.heads import HeadKind
from pixeldistill.tasks.detection.heads.retinanet import RetinaNetHead

SHARED = HeadKind("toy_parts.heads:SharedHead", anchored=True)


class SharedHead(RetinaNetHead):
    """See above."""

    def predict(self, head, classes, boxes, number):
        """Read both from the tower of classes."""
        return super().predict(head, classes, classes, number)
