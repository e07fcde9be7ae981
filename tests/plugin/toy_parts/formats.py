"""A folder of images whose names begin with their class: `across-001.png`."""

from pixeldistill.data.formats.base import ListedData
from pixeldistill.recipe.formats import Format

NAMED = Format("toy_parts.formats:read_named")


def read_named(data):
    """Return every image with its class, as one pool."""
    pairs = [(path, path.name.partition("-")[0]) for path in sorted(data.root.glob("*.png"))]
    return ListedData({"train": pairs}, [], pool=True)
