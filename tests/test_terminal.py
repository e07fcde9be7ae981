"""What is shown changes no terminal, in whatever encoding it is shown."""

import io
import subprocess
import sys

import pytest
import yaml
from rich.console import Console

from pixeldistill.cli import app as cli
from pixeldistill.display.tables import make_table, show_table, write_line
from pixeldistill.display.text import in_json, printable, shell_word
from pixeldistill.errors import RecipeError
from tests.conftest import make_images, recipe_content
from tests.test_cli import command

RED = "\x1b[31m"
ODD = [f"a{RED}b", "two\nlines", "\u202eturned", "c1\u009b31m", "null\0", "\x07bell", "\ud800half"]


def raw(text):
    """Find what a terminal would obey."""
    return [c for c in text if not c.isprintable() and c != "\n"]


def shown(write):
    stream = io.StringIO()
    write(Console(file=stream, width=200))
    return stream.getvalue()


@pytest.mark.parametrize("name", ODD)
def test_names_are_escaped_wherever_they_are_shown(name):
    assert shown(lambda console: write_line(console, f"data: {name}")).count("\n") == 1
    assert not raw(shown(lambda console: write_line(console, name)))
    table = make_table(name, ["file", name], [["x", name], ["1", "2"]], name)
    told = shown(lambda console: show_table(console, table))
    assert not raw(told) and told.count(printable(name)) == 4
    assert not raw(in_json({name: [name]}))
    assert not raw(shell_word(name))


def test_what_is_quoted_means_the_same_to_a_shell():
    for name in ("plain", "a b", f"it's{RED}", "back\\slash\n", "Käfer"):
        said = subprocess.run(["bash", "-c", f"printf %s {shell_word(name)}"], capture_output=True, check=True).stdout
        assert said.decode() == name


def test_an_error_is_one_line_whatever_is_in_it(capsys):
    def fail():
        raise RecipeError(f"key {RED}evil\npixeldistill: all is well")

    assert cli.run_command(fail) == 2
    told = capsys.readouterr().err
    assert told == "pixeldistill: key \\x1b[31mevil pixeldistill: all is well\n"


@pytest.fixture(scope="module")
def odd_data(tmp_path_factory):
    """Classes and files of which a terminal would obey a part."""
    folder = tmp_path_factory.mktemp("odd")
    root = make_images(folder / f"images{RED}", {f"cat{RED}": 20, "dog\nwarning: all is well": 20})
    for path in list(root.rglob("*.png"))[::7]:
        path.rename(path.with_name(f"{path.stem}{RED}.png"))
    content = recipe_content(root, folder / f"run{RED}")
    content["schedule"]["epochs"] = 1
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return folder / "recipe.yaml", root, folder / f"run{RED}"


def test_no_command_lets_a_name_through(odd_data, capsys):
    recipe, root, run = odd_data
    calls = [
        ("show", recipe), ("distill", recipe, "--workers", 0), ("evaluate", run, "--per-class", "--workers", 0),
        ("evaluate", run, "--json", "--workers", 0), ("predict", run, root), ("predict", run, root, "--json"),
        ("predict", run, root / "none.png"), ("show", recipe, "--set", f"data.root=x{RED}"), ("report", run),
        ("export", run), ("predict", run / "2-distilled/seed-0/model.onnx", root),
    ]  # fmt: skip
    for call in calls:
        code = command(*call)
        told = capsys.readouterr()
        assert code == (2 if "none.png" in str(call[-1]) or "data.root" in str(call[-1]) else 0), told.err
        assert not raw(told.out) and not raw(told.err), call
        assert "\nwarning: all is well" not in told.out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_output_in_any_encoding(images, tmp_path, encoding):
    """Redirected on Windows, or in a bare container: what cannot be written is written otherwise, and nothing fails."""
    content = recipe_content(images, tmp_path / "lauf→ü")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    for call in (["show", "recipe.yaml"], ["show", "recipe.yaml", "--set", "teacher.image_size=→"], ["--help"]):
        ended = subprocess.run(
            [sys.executable, "-m", "pixeldistill", *call], cwd=tmp_path, capture_output=True, check=False,
            env={**__import__("os").environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"},
        )  # fmt: skip
        told = ended.stdout.decode(encoding) + ended.stderr.decode(encoding)
        assert "Traceback" not in told and ended.returncode == (2 if len(call) > 2 else 0), told
        if call == ["show", "recipe.yaml"]:
            assert ("lauf→ü" in told) == (encoding == "utf-8") and ("lauf->" in told) == (encoding != "utf-8")
