"""Settings of a recipe's images: their place, their crops, the camera. Pure data."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from pixeldistill.errors import nearest
from pixeldistill.recipe.base import Count, ImageSize, Seed, Strict, UserPath
from pixeldistill.recipe.formats import formats

Fraction = Annotated[float, Field(gt=0, lt=1)]


def _known_format(name: object) -> object:
    if not isinstance(name, str) or name not in formats():
        raise ValueError(f"{name!r} is not valid, {nearest(str(name), formats())}")
    return name


class Data(Strict):
    """Place of the images and labels. `root` is relative to the folder in which the command runs."""

    format: Annotated[str, BeforeValidator(_known_format)] = Field(
        description="how images and labels lie on disk: see Data formats"
    )
    root: UserPath | None = Field(None, description="folder of the data, relative to where the command runs")
    train: str | None = Field(
        None,
        description="list: file of `path, label` lines, coco: annotations (JSON), relative to root; voc: an image set's name",
    )
    val: str | None = Field(None, description="likewise; by default cut from train")
    test: str | None = Field(None, description="likewise; by default cut from a data set that is one pool")
    images: UserPath | None = Field(None, description="coco: folder of the images, relative to root; by default it is looked for")
    label_column: Count = Field(1, description="list format: which column (counted from 0) holds the label")
    val_fraction: Fraction = Field(0.1, description="cut from train, by split_seed, where the data has no val")
    test_fraction: Fraction = Field(0.2, description="cut likewise, where one pool of images has no splits at all")
    split_seed: Seed = Field(0, description="of what is cut from train")
    limit: PositiveInt | None = Field(None, description="at most this many images a split, for a trial run")
    on_bad_image: Literal["error", "skip"] = Field("error", description="an image that cannot be read: stop, or leave it out")
    decode: Literal["reduced", "full"] = Field(
        "reduced", description="JPEG files: decode no larger than the crop needs, or whole"
    )
    bits: int | None = Field(
        None, ge=8, le=16, description="of 16-bit images: how many the sensor has; by default as their largest value says"
    )
    image_cache: ImageSize | None = Field(
        None, description="keep the training images decoded on disk, their shorter side at so many pixels"
    )
    image_cache_folder: UserPath | None = Field(None, description="where; by default <run>/image_cache")

    @model_validator(mode="after")
    def _complete(self) -> "Data":
        known = formats()[self.format]
        if self.root is None:
            raise ValueError(f"format {self.format!r} needs `root`, the folder of the data")
        if known.train and self.train is None:
            raise ValueError(f"format {self.format!r} needs `train`, {known.train}")
        if self.image_cache_folder and not self.image_cache:
            raise ValueError("`image_cache_folder` needs `image_cache`, the shorter side of the cached images in pixels")
        for name in ("train", "val", "test", "label_column", "images"):
            if name not in known.options and getattr(self, name) != type(self).model_fields[name].default:
                others = ", ".join(other for other, format_ in formats().items() if name in format_.options)
                raise ValueError(f"`{name}` is for format {others}, not for {self.format!r}: leave it out, or change `format`")
        return self

    @property
    def labels(self) -> str:
        """Kind of the images' labels: classes or boxes."""
        return formats()[self.format].labels


class Augmentation(Strict):
    """Random view of a training image: a crop and a flip that depend only on (seed, epoch, index)."""

    scale: tuple[float, float] = Field((0.08, 1.0), description="area of the crop as a share of the image")
    ratio: tuple[float, float] = Field((0.75, 4 / 3), description="width / height of the crop")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    visible: float | None = Field(
        None, ge=0, le=1, description="detection: share of its area that a box must show to count; by default 0.25"
    )
    mixup: float = Field(
        0, ge=0, description="α of the Beta distribution of views that are blended with another's; 0 blends none"
    )
    cutmix: float = Field(
        0, ge=0, description="α of the Beta distribution of the area that another view is pasted over; 0 pastes none"
    )
    randaugment: int = Field(0, ge=0, le=30, description="magnitude of two random operations on every view; 9 is usual, 0 is off")
    seed: Seed = Field(0, description="of all that is random in the views; the same for all networks and seeds")

    @model_validator(mode="after")
    def _ordered(self) -> "Augmentation":
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be [low, high] with 0 < low <= high <= 1, not {list(self.scale)}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be [low, high] with 0 < low <= high, not {list(self.ratio)}")
        return self

    @property
    def mixes(self) -> str:
        """Name of the setting that mixes views. Empty if there is none."""
        return "mixup" if self.mixup else "cutmix" if self.cutmix else ""
