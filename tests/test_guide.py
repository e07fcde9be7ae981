"""What the guide tells users to run runs, also where processes are spawned (macOS, Windows, newer Pythons)."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import recipe_content

GUIDE = Path(__file__).parent.parent / "docs/how-to/python.md"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_the_python_snippet(images, tmp_path, method):
    """In a script of its own, without a guard: its training must not begin again in every loader process."""
    (snippet,) = re.findall(r"```python\n(import pixeldistill\n.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    content = recipe_content(images, tmp_path / "run")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    for before, after in (("recipes/demo.yaml", "recipe.yaml"), ("runs/notebook", "run"), ("photos/", str(images))):
        assert before in snippet
        snippet = snippet.replace(before, after)
    start = f"import multiprocessing\nmultiprocessing.set_start_method({method!r})\nprint('begun')\n"
    (tmp_path / "script.py").write_text(start + snippet)
    ended = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("begun") == 1
    assert re.search(r"^0\.\d+$|^1\.0$", ended.stdout, flags=re.MULTILINE), "the figure that it prints"
    assert ended.stdout.count(".png") == 60, "a line for every image"
