import numpy as np
import pytest
from PIL import Image

from pixeldistill.data.images import check_image, find_images, image_size, read_image
from pixeldistill.errors import DataError

RED = (200, 30, 10)


def picture(mode="RGB", size=(6, 4)):
    image = Image.new("RGB", size, RED)
    return image.quantize(4) if mode == "P" else image.convert(mode)


@pytest.mark.parametrize(
    ("name", "mode", "tolerance"),
    [
        ("a.png", "RGB", 0), ("a.jpg", "RGB", 8), ("a.webp", "RGB", 12), ("a.png", "P", 8), ("a.gif", "P", 8),
        ("a.tif", "CMYK", 3), ("a.jpg", "CMYK", 8),
    ],
)  # fmt: skip
def test_colours_survive_every_mode(tmp_path, name, mode, tolerance):
    picture(mode).save(tmp_path / name)
    pixels = read_image(tmp_path / name)
    assert pixels.shape == (4, 6, 3)
    assert np.abs(pixels.astype(int) - RED).max() <= tolerance
    assert check_image(tmp_path / name)[1] is None


def test_grey_and_sixteen_bit_become_rgb(tmp_path):
    ramp = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    for name in ("deep.png", "deep.pgm"):
        Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), np.repeat(ramp[..., None], 3, 2))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.repeat(ramp[..., None], 3, 2))


def test_transparency_is_laid_over_white(tmp_path):
    image = Image.new("RGBA", (2, 1), (*RED, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[RED, (255, 255, 255)]])


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize(("orientation", "turned"), [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270)])
def test_exif_orientation_is_honoured(tmp_path, orientation, turned, kind):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    Image.fromarray(pixels).save(path, exif=exif)
    upright = np.asarray(Image.fromarray(pixels).transpose(turned))
    np.testing.assert_array_equal(read_image(path), upright)
    assert image_size(path) == upright.shape[:2], "from the header alone"


def bad_files(folder):
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("not an image at all")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)).save(folder / "whole.jpg")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:2000])
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)).save(folder / "whole.png")
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:2000])
    Image.fromarray(np.ones((4, 4), np.float32)).save(folder / "float.tif")
    Image.fromarray(np.full((4, 4), 100_000, np.int32)).save(folder / "int32.tif")
    return ["empty.jpg", "text.jpg", "cut.jpg", "cut.png", "float.tif", "int32.tif", "missing.jpg"]


def test_bad_files_are_refused_by_name(tmp_path):
    for name in bad_files(tmp_path):
        with pytest.raises(DataError, match=name) as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in check_image(tmp_path / name)[1]
    assert check_image(tmp_path / "whole.jpg")[1] is None


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    picture(size=(100, 100)).save(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(DataError, match=r"big\.png"):
        read_image(tmp_path / "big.png")


def test_find_images_passes_hidden_and_other_files_over(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/c.webp", ".hidden.jpg", ".cache/d.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.name for p in find_images(tmp_path)] == ["a.jpg", "b.PNG", "c.webp"]
