"""Generated data sets: drawn into a folder at the first use. No torch."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pixeldistill.errors import DataError
from pixeldistill.storage.files import locked


def draw_once(root: Path, parts: Sequence[str], draw: Callable[[Path], None]) -> None:
    """Draw a data set into a folder, unless all its parts are there: all of it or nothing.

    Args:
        root: an empty or a new folder.
        parts: files and folders of a complete data set.
        draw: draws into the folder that it is called with.

    Raises:
        DataError: the folder holds something else.
    """
    if all((root / part).exists() for part in parts):
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with locked(root.parent, None, f".{root.name}.lock"):
        if all((root / part).exists() for part in parts):
            return
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise DataError(f"data: {root} holds something else than generated images: name an empty or a new data.root")
        draft = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
        try:
            draw(draft)
            if root.exists():
                root.rmdir()
            draft.chmod(0o755)
            draft.rename(root)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
