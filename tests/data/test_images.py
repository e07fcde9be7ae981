import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from pixeldistill.data.folders import describe_passed, find_images
from pixeldistill.data.images import check_image, read_image, read_size
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
    assert check_image(tmp_path / name).problem is None


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
    assert read_size(path) == upright.shape[:2], "from the header alone"


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
        assert name in check_image(tmp_path / name).problem
    assert check_image(tmp_path / "whole.jpg").problem is None


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    picture(size=(100, 100)).save(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(DataError, match=r"big\.png"):
        read_image(tmp_path / "big.png")


def test_find_images_counts_what_it_passes_over(tmp_path):
    names = ("b.PNG", "a.jfif", "sub/c.webp", "d.avif", ".hidden.jpg", ".thumbnails/d.jpg", "@eaDir/b.PNG/THUMB.jpg")
    for name in (*names, "notes.txt", "e.heic", "f.HEIC", "Thumbs.db", "README"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.png")
    found = find_images(tmp_path)
    assert [p.name for p in found.images] == ["a.jfif", "b.PNG", "d.avif", "c.webp"]
    assert dict(found.passed) == {
        "hidden images": 2, "images in @eaDir": 1, ".txt files": 1, ".heic files": 2, "files without a suffix": 1,
        "links to nothing, pipes or devices": 2,
    }  # fmt: skip
    assert ".heic files (2)" in describe_passed(found.passed)


def test_folders_that_are_links_are_followed_once(tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "elsewhere").mkdir()
    picture().save(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "class" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "class" / "again").symlink_to(tmp_path / "class")
    assert [p.name for p in find_images(tmp_path / "class").images] == ["a.png"]


def exif_with(tags):
    """Make an EXIF block whose tags may be of any type: (tag, type, count, bytes of the value)."""
    head = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
    data, entries, place = b"", b"", 8 + 2 + 12 * len(tags) + 4
    for tag, kind, count, value in sorted(tags):
        inline = len(value) <= 4
        entries += struct.pack("<HHI", tag, kind, count) + (
            value.ljust(4, b"\0") if inline else struct.pack("<I", place + len(data))
        )
        data += b"" if inline else value
    return head + entries + b"\0\0\0\0" + data


FLOAT, ASCII, SHORT, DOUBLE, RATIONAL = 11, 2, 3, 12, 5
MISTYPED = {
    "Make as a float": (0x010F, FLOAT, 1, struct.pack("<f", 1.5)),
    "ImageWidth as text": (0x0100, ASCII, 5, b"wide\0"),
    "StripOffsets as a fraction": (0x0111, RATIONAL, 1, struct.pack("<II", 1, 3)),
    "Software as a double": (0x0131, DOUBLE, 1, struct.pack("<d", 2.5)),
    "nothing else": None,
}
ORIENTATIONS = {
    "short": (0x0112, SHORT, 1, struct.pack("<H", 6)),
    "float": (0x0112, FLOAT, 1, struct.pack("<f", 6.0)),
    "fraction": (0x0112, RATIONAL, 1, struct.pack("<II", 6, 1)),
    "text": (0x0112, ASCII, 2, b"6\0"),
    "two": (0x0112, SHORT, 2, struct.pack("<HH", 6, 6)),
    "wild": (0x0112, SHORT, 1, struct.pack("<H", 999)),
}


@pytest.mark.parametrize("foreign", MISTYPED)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "avif"])
def test_the_size_that_is_told_is_the_size_that_is_read(tmp_path, kind, orientation, foreign):
    """Whatever the EXIF block holds; where it says so in the usual way the pixels are turned."""
    tags = [ORIENTATIONS[orientation], *([MISTYPED[foreign]] if MISTYPED[foreign] else [])]
    path = tmp_path / f"a.{kind}"
    try:
        Image.new("RGB", (12, 8), RED).save(path, exif=exif_with(tags))
    except Exception as error:
        pytest.skip(f"Pillow writes no such file: {type(error).__name__}")
    checked = check_image(path)
    if checked.problem is None:
        assert read_image(path).shape[:2] == read_size(path) == checked.size
        if orientation == "short" and kind in ("jpg", "png", "webp"):
            assert checked.size == (12, 8) and checked.turned
    else:
        with pytest.raises(DataError, match=r"a\.(tif|avif)"):
            read_image(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_turned_tiff_is_read_as_it_was_seen(tmp_path, mode, orientation, compression):
    """Uncompressed pixels would be mapped into memory by Pillow, with the sides of the image that is yet to be turned."""
    turn = {
        3: Image.Transpose.ROTATE_180,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    seen = Image.new("L", (9, 6), 0)
    seen.paste(255, (2, 1, 6, 3))
    stored = seen.transpose(turn[orientation])
    stored = Image.fromarray(np.asarray(stored).astype(np.uint16) * 257) if mode == "I;16" else stored.convert(mode)
    path = tmp_path / "a.tif"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274] = orientation
    stored.save(path, tiffinfo=tags, compression=compression)
    assert read_size(path) == check_image(path).size == (6, 9)
    bright = read_image(path)[..., 0] > 120
    assert bright.shape == (6, 9) and bright[1:3, 2:6].all() and bright.sum() == 8


def grey_ramp(most):
    return np.linspace(0, most, 24).round().astype(np.uint16).reshape(4, 6)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_a_sensors_bits_become_eight(tmp_path, name, bits):
    if name == "a.jp2" and bits < 16:
        pytest.skip("Pillow spreads JPEG 2000 over 16 bits by what the file says")
    ramp = grey_ramp(2**bits - 1)
    Image.fromarray(ramp).save(tmp_path / name, **({"irreversible": False} if name.endswith("jp2") else {}))
    seen = read_image(tmp_path / name, bits=bits)
    np.testing.assert_array_equal(seen[..., 0], ramp >> (bits - 8))
    assert check_image(tmp_path / name).peak == (0 if name == "a.jp2" else 2**bits - 1)


def write_png16(path, values):
    """Write a PNG of 16 bits a colour, which Pillow cannot."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


@pytest.mark.parametrize("bits", [12, 16])
def test_colours_of_sixteen_bits(tmp_path, bits):
    """Of which Pillow gives the upper bytes alone: of 12 bits hardly anything."""
    values = np.stack([grey_ramp(2**bits - 1), grey_ramp(2**bits - 1)[::-1], grey_ramp(0)], axis=2)
    write_png16(tmp_path / "a.png", values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", bits=bits), values >> (bits - 8))
    assert check_image(tmp_path / "a.png").peak == 2**bits - 1
    clear = np.concatenate([values, np.full((4, 6, 1), 65535, np.uint16)], axis=2)
    write_png16(tmp_path / "clear.png", clear)
    np.testing.assert_array_equal(read_image(tmp_path / "clear.png", bits=bits), values >> (bits - 8))


def write_tiff(path, rows, bits, photometric=1, signed=False):
    """Write a plain TIFF of one strip."""
    height, width, data = len(rows), len(rows[0]), b"".join(rows) if isinstance(rows[0], bytes) else rows.tobytes()
    width = width if not isinstance(rows[0], bytes) else len(rows[0]) * 8 // bits
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 0),
        (277, 1),
        (278, height),
        (279, len(data)),
    ]
    tags += [(339, 2)] if signed else []
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags)
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + data)


def test_tiffs_of_instruments(tmp_path):
    ramp = grey_ramp(65535)
    write_tiff(tmp_path / "white.tif", ramp, 16, photometric=0)
    np.testing.assert_array_equal(read_image(tmp_path / "white.tif")[..., 0], 255 - (ramp >> 8))
    write_tiff(tmp_path / "signed.tif", grey_ramp(16383).astype(np.int16), 16, signed=True)
    np.testing.assert_array_equal(read_image(tmp_path / "signed.tif", bits=14)[..., 0], grey_ramp(16383) >> 6)
    write_tiff(tmp_path / "below.tif", grey_ramp(16383).astype(np.int16) - 5000, 16, signed=True)
    assert "negative values" in check_image(tmp_path / "below.tif").problem
    twelve = grey_ramp(4095)
    packed = [
        b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in row.reshape(-1, 2).tolist()) for row in twelve
    ]
    write_tiff(tmp_path / "packed.tif", packed, 12)
    np.testing.assert_array_equal(read_image(tmp_path / "packed.tif")[..., 0], twelve >> 4)
    assert check_image(tmp_path / "packed.tif").peak == 0, "it says itself how many bits it has"


def test_nothing_is_started_for_a_file_that_only_calls_itself_an_image(tmp_path, monkeypatch):
    """Pillow would start Ghostscript for EPS, whatever the file's name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (folder / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (tmp_path / "a.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="not an image that can be read"):
        read_image(tmp_path / "a.jpg")
    assert "not an image" in check_image(tmp_path / "a.jpg").problem
    assert not (tmp_path / "started").exists()


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(2**31)
    for name, words in (("pipe.jpg", "no regular file"), ("folder.jpg", "a folder"), ("large.jpg", "2.0 GiB")):
        with pytest.raises(DataError, match=words):
            read_image(tmp_path / name)
        assert words in check_image(tmp_path / name).problem
    for name in ("x" * 300 + ".jpg", "zero\0.jpg"):
        assert "cannot be read" in check_image(tmp_path / name).problem


def test_whatever_a_decoder_raises_is_a_line_that_names_the_file(tmp_path, monkeypatch):
    picture().save(tmp_path / "a.png")

    def fail(self):
        raise RecursionError("anything")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_end", fail)
    with pytest.raises(DataError, match=r"a\.png is broken: anything"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "I;16"])
def test_a_png_with_broken_pixels_is_found_whatever_is_asked_first(tmp_path, mode):
    """Pillow's PNG decodes its pixels to look for EXIF behind them; asked a second time it gives what it has."""
    path = tmp_path / "a.png"
    values = np.random.default_rng(0).integers(0, 255, (40, 46)).astype(np.uint8)
    Image.fromarray(values).convert(mode).save(path)
    content = bytearray(path.read_bytes())
    middle = content.index(b"IDAT") + 100
    content[middle : middle + 40] = b"\xff" * 40
    path.write_bytes(content)
    assert check_image(path).problem and "is broken" in check_image(path).problem
    for ask in (read_image, lambda p: read_image(p, lambda height, width: 1)):
        with pytest.raises(DataError, match="is broken"):
            ask(path)
    assert read_size(path) == (40, 46)
