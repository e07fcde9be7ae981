"""What a recipe says of its images: where they are, how they are cropped, what the camera delivers. Pure data."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, PositiveInt, model_validator

from pixeldistill.strict import Count, Seed, Side, Strict, UserPath

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Data(Strict):
    """Where the images and labels are. `root` is relative to the folder the command runs in."""

    format: Literal["folder", "list", "cub", "aircraft", "demo", "coco", "voc", "yolo", "labelme", "scenes"]
    root: UserPath | None = Field(None, description="folder of the data; the demo needs none")
    train: str | None = Field(
        None,
        description="list: file of `path, label` lines, coco: annotations (JSON), relative to root; voc: an image set's name",
    )
    val: str | None = None
    test: str | None = None
    images: UserPath | None = Field(None, description="coco: folder of the images, relative to root; by default it is looked for")
    label_column: Count = Field(1, description="list format: which column (counted from 0) holds the label")
    val_fraction: Fraction = Field(0.1, description="cut from train, by split_seed, where the data has no val")
    test_fraction: Fraction = Field(0.2, description="cut likewise, where one pool of images has no splits at all")
    split_seed: Seed = 0
    limit: PositiveInt | None = Field(None, description="at most this many images a split, for a trial run")
    on_bad_image: Literal["error", "skip"] = "error"
    decode: Literal["reduced", "full"] = Field(
        "reduced", description="JPEG views: decoded no larger than the crop needs, or whole"
    )
    bits: int | None = Field(
        None, ge=8, le=16, description="of 16-bit images: how many the sensor has; by default as their largest value says"
    )
    store: Side | None = Field(None, description="keep the training images decoded, their shorter side at so many pixels")
    store_folder: UserPath | None = Field(None, description="where; by default <run>/store")

    @model_validator(mode="after")
    def _complete(self) -> "Data":
        if self.format != "demo" and self.root is None:
            raise ValueError(f"format {self.format!r} needs `root`, the folder of the data")
        if self.format in _NAMED and self.train is None:
            raise ValueError(f"format {self.format!r} needs `train`, {_NAMED[self.format]}")
        if self.store_folder and not self.store:
            raise ValueError("`store_folder` needs `store`, the stored images' shorter side in pixels")
        if self.format not in (*_NAMED, "voc") and (self.train or self.val or self.test):
            named = "; of YOLO `root` is the folder that holds data.yaml" if self.format == "yolo" else ""
            raise ValueError(f"`train`, `val` and `test` name files: they need `format: list`, coco or voc{named}")
        if self.format != "list" and self.label_column != 1:
            raise ValueError("`label_column` is of lists: it needs `format: list`")
        if self.images and self.format != "coco":
            raise ValueError("`images` is the folder of a COCO file's images: it needs `format: coco`")
        return self

    @property
    def boxed(self) -> bool:
        """Whether its labels are boxes."""
        return self.format in ("coco", "voc", "yolo", "labelme", "scenes")


_NAMED = {"list": "a file of `path, label` lines", "coco": "a file of annotations (JSON)"}


class Views(Strict):
    """The random view of a training image: a crop and a flip, drawn from (seed, epoch, index) alone."""

    scale: tuple[float, float] = Field((0.08, 1.0), description="area of the crop as a share of the image")
    ratio: tuple[float, float] = Field((0.75, 4 / 3), description="width / height of the crop")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    visible: float | None = Field(
        None, ge=0, le=1, description="share of its area that a box must show to count; by default 0.25"
    )
    mixup: float = Field(0, ge=0, description="α of the Beta distribution of mixed pairs of views; 0 mixes nothing")
    seed: Seed = 0

    @model_validator(mode="after")
    def _ordered(self) -> "Views":
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be [low, high] with 0 < low <= high <= 1, not {list(self.scale)}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be [low, high] with 0 < low <= high, not {list(self.ratio)}")
        return self


QUALITY = 85


class Imaging(Strict):
    """The deployed camera: how an image of the network's side comes from the scene, and how it is sent."""

    kernel: Literal["bilinear", "bicubic"] = Field("bilinear", description="of the resizing, always antialiased")
    crop: float = Field(0.875, ge=0.05, le=1, description="test time: side of the centre crop / shorter side (224 / 256)")
    colour: Literal["rgb", "grey"] = "rgb"
    noise: float = Field(0, ge=0, le=64, description="of the sensor, Gaussian: standard deviation in levels of 8 bits")
    codec: Literal["raw", "png", "jpeg", "webp"] = Field("raw", description="how an image is sent; raw and png lose nothing")
    quality: int | None = Field(None, ge=1, le=100, description=f"of jpeg and webp; by default {QUALITY}")

    @model_validator(mode="after")
    def _possible(self) -> "Imaging":
        if self.quality is not None and not self.lossy:
            raise ValueError(f"codec {self.codec!r} loses nothing, so it has no `quality`: leave it out, or send jpeg or webp")
        return self

    @property
    def lossy(self) -> bool:
        """Whether the codec changes the image."""
        return self.codec in ("jpeg", "webp")

    @property
    def alters(self) -> bool:
        """Whether more is done to an image than resizing and cropping it."""
        return self.colour == "grey" or self.noise > 0 or self.lossy

    @property
    def optics(self) -> "Imaging":
        """The same without sensor and codec: what a network is fed that is not deployed."""
        return Imaging(kernel=self.kernel, crop=self.crop)

    @property
    def received(self) -> "Imaging":
        """What is left to do with an image that such a camera has sent."""
        return Imaging(kernel=self.kernel, crop=self.crop, colour=self.colour)

    @property
    def encoding(self) -> str:
        """How it sends, in words.

        >>> Imaging(codec="jpeg").encoding, Imaging(colour="grey").encoding
        ('jpeg 85', 'raw grey')
        """
        quality = f" {self.quality or QUALITY}" if self.lossy else ""
        return f"{self.codec}{quality}" + (" grey" if self.colour == "grey" else "")

    @property
    def words(self) -> str:
        """All that is not as usual, in words.

        >>> Imaging(codec="jpeg", kernel="bicubic", noise=2).words, Imaging().words
        ('jpeg 85, bicubic, noise 2', 'raw')
        """
        usual = Imaging()
        more: list[str] = [self.kernel] if self.kernel != usual.kernel else []
        more += [f"crop {self.crop:g}"] if self.crop != usual.crop else []
        more += [f"noise {self.noise:g}"] if self.noise else []
        return ", ".join([self.encoding, *more])


class Camera(NamedTuple):
    """What feeds a network: images of a side, made so."""

    side: int
    imaging: Imaging
