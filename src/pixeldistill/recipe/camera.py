"""Deployed camera: how it makes an image of the network's image size from the scene, and how it sends the image. Pure data."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from pixeldistill.recipe.base import Strict

QUALITY = 85
USUAL_CROP = 0.875  # 224 / 256
CROPS = (USUAL_CROP, 1.0, 0.8, 0.7, 0.6, 0.5)  # to choose from


class Camera(Strict):
    """The deployed camera: how it makes an image of the network's image size from the scene, and how it sends the image."""

    kernel: Literal["bilinear", "bicubic"] = Field("bilinear", description="of the resizing, always antialiased")
    crop: Annotated[float, Field(ge=0.05, le=1)] | Literal["auto"] = Field(
        "auto",
        description="test time: side of the centre crop / shorter side; auto: chosen after the training, of "
        f"{', '.join(f'{crop:g}' for crop in sorted(CROPS))} the one with the least loss on val; until then {USUAL_CROP:g}",
    )
    colour: Literal["rgb", "grey"] = Field("rgb", description="grey: the sensor sees no colour")
    noise: float = Field(0, ge=0, le=64, description="of the sensor, Gaussian: standard deviation in levels of 8 bits")
    codec: Literal["raw", "png", "jpeg", "webp"] = Field("raw", description="how an image is sent; raw and png lose nothing")
    quality: int | None = Field(None, ge=1, le=100, description=f"of jpeg and webp; by default {QUALITY}")

    @model_validator(mode="after")
    def _possible(self) -> "Camera":
        if self.quality is not None and not self.lossy:
            raise ValueError(f"codec {self.codec!r} loses nothing, so it has no `quality`: leave it out, or send jpeg or webp")
        return self

    @property
    def centre(self) -> float:
        """Side of the centre crop / shorter side: the crop, or the usual one as long as none is chosen."""
        return USUAL_CROP if self.crop == "auto" else self.crop

    def cropped(self, crop: float) -> "Camera":
        """Return the same camera with another crop."""
        return self.model_copy(update={"crop": crop})

    @property
    def lossy(self) -> bool:
        """Whether the codec changes the image."""
        return self.codec in ("jpeg", "webp")

    @property
    def alters(self) -> bool:
        """Whether the camera does more to an image than resizing and cropping."""
        return self.colour == "grey" or self.noise > 0 or self.lossy

    @property
    def optics(self) -> "Camera":
        """The same camera without sensor and codec, for a network that is not deployed."""
        return Camera(kernel=self.kernel, crop=self.crop)

    @property
    def received(self) -> "Camera":
        """The same camera without noise and codec, for an image that the camera has already sent."""
        return Camera(kernel=self.kernel, crop=self.crop, colour=self.colour)

    @property
    def encoding(self) -> str:
        """Codec, quality and colour of the sent images, in words.

        >>> Camera(codec="jpeg").encoding, Camera(colour="grey").encoding
        ('jpeg 85', 'raw grey')
        """
        quality = f" {self.quality or QUALITY}" if self.lossy else ""
        return f"{self.codec}{quality}" + (" grey" if self.colour == "grey" else "")

    @property
    def sent_quality(self) -> float:
        """The codec's quality. It is 100 for a lossless codec."""
        return float(self.quality or QUALITY) if self.lossy else 100.0

    @property
    def kind(self) -> str:
        """Settings that are not the default, except the quality, in words. Two cameras of one kind differ only in quality.

        >>> Camera(codec="jpeg", quality=50, kernel="bicubic").kind
        'jpeg, bicubic'
        """
        return self.words.replace(self.encoding, self.encoding.replace(f" {self.quality or QUALITY}", "", 1), 1)

    @property
    def words(self) -> str:
        """Settings that are not the default, in words.

        >>> Camera(codec="jpeg", kernel="bicubic", noise=2).words, Camera().words
        ('jpeg 85, bicubic, noise 2', 'raw')
        """
        usual = Camera()
        more: list[str] = [self.kernel] if self.kernel != usual.kernel else []
        more += [f"crop {self.crop:g}"] if self.crop not in ("auto", USUAL_CROP) else []
        more += [f"noise {self.noise:g}"] if self.noise else []
        return ", ".join([self.encoding, *more])


class InputSpec(NamedTuple):
    """Image size and camera of a network's input."""

    image_size: int
    camera: Camera

    def cropped(self, crop: float) -> "InputSpec":
        """Return the same input with another crop of the camera."""
        return self._replace(camera=self.camera.cropped(crop))
