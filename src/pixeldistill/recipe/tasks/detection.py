"""Recipes of detection: how a detector's levels follow from the recipe, the networks and their chain (AFP)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pixeldistill.errors import RecipeError
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.data import Augmentation
from pixeldistill.recipe.detector import MAX_LEVEL, MIN_LEVEL, DetectorSettings, merged
from pixeldistill.recipe.levels import assistant_levels, shared_levels, size_shift
from pixeldistill.recipe.losses import BoxesTerm, FKDTerm, ISRDTerm, PKDTerm, SupervisedTerm, Term
from pixeldistill.recipe.method import Method
from pixeldistill.recipe.network import Assistant, Network, Student
from pixeldistill.recipe.tasks.base import SUPERVISED, NetworkT, Starting, TaskRules, completed

if TYPE_CHECKING:
    from pixeldistill.recipe.recipe import Recipe

BATCH, LR, CLIP_GRAD = 8, 0.001, 10.0  # defaults of a schedule; the learning rate is AdamW's, for a batch of 8
SCALE = (0.4, 1.0)  # share of the image's area that a crop covers
_ISRD, _FKD = ISRDTerm(kind="isrd"), FKDTerm(kind="fkd", weight=0.2)  # in addition to the prediction losses; ours
_PLAIN = (*SUPERVISED, PKDTerm(kind="pkd"), BoxesTerm(kind="boxes"))


class DetectionRules(TaskRules):
    """Rules for recipes of detection. See `TaskRules`."""

    name = "detection"
    labels = "boxes"
    headline = "map"
    crops = False
    starting = Starting(512, 2, BATCH, (20, 40), before={"detector": {"channels": 64, "depth": 2}})
    published_terms: ClassVar = {"ts": (*_PLAIN, _ISRD), "tas": (*_PLAIN, _FKD, _ISRD)}
    assistant_terms: ClassVar = (*_PLAIN, _FKD)
    plain_terms: ClassVar = _PLAIN
    chain_term: ClassVar = _FKD

    def with_defaults(self, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add a detector, its schedules, and larger crops, because objects outside a crop cannot be found."""
        content = {**content, "detector": content.get("detector") or {}, "augmentation": content.get("augmentation") or {}}
        return completed(completed(content, "schedule", _schedule), "augmentation", lambda said: {"scale": SCALE, **said})

    def check(self, recipe: "Recipe") -> None:
        """Raise ValueError if a recipe has settings of classifiers."""
        networks = [network for network in recipe.networks if isinstance(network, Network)]
        if any(input_spec.crop != Camera().crop for input_spec in (recipe.camera, *(n.camera for n in networks if n.camera))):
            raise ValueError("camera.crop is of classifiers: a detector is fed the whole image; leave it out")
        if recipe.teacher_cache:
            raise ValueError("`teacher_cache` keeps what classifiers say; detectors are asked at every step: leave it out")
        stages = [part for part in (recipe.teacher, recipe.assistant, *recipe.stages) if part]
        if any(s.label_smoothing for s in (recipe.schedule, *(stage.schedule for stage in stages if stage.schedule))):
            raise ValueError("schedule.label_smoothing smooths classes, not boxes: leave it out for detection")
        if any(network.stem_stride for network in networks):
            raise ValueError("`stem_stride` is a control of classification")

    def check_augmentation(self, augmentation: Augmentation) -> None:
        """Raise ValueError if it would change an image and not its boxes."""
        if mixes := augmentation.mixes:
            raise ValueError(f"augmentation.{mixes} mixes classes, not boxes: leave it out for detection")
        if augmentation.randaugment:
            raise ValueError("augmentation.randaugment moves the image and not its boxes: leave it out for detection")

    def check_network(self, network: Network) -> None:
        """Raise ValueError if an enlargement does not shift the levels by a whole number."""
        if not network.enlarges_levels:
            raise ValueError(
                f"an image of {network.image_size} pixels is to be enlarged to {network.enlarge}, which shifts a detector's "
                "levels by no whole number: choose sizes of which one is 2, 4, … times the other"
            )

    def check_method(self, method: Method) -> None:
        """Raise ValueError if a detector cannot have a method's control."""
        if method.stem_stride:
            raise ValueError("`stem_stride` is a control of classification")
        if method.enlarge and (method.chain == "tas" or method.warm_start):
            raise ValueError(
                "an enlarged student meets other levels than those its assistant is trained to share: make it one of the "
                "`students`, with `enlarge`"
            )

    def complete(self, network: NetworkT, recipe: "Recipe") -> NetworkT:
        """Return a network with the recipe's `detector` settings where it has none of its own."""
        assert recipe.detector is not None
        completed = network.model_copy(update={"detector": merged(recipe.detector, network.detector)})
        return super().complete(completed, recipe)

    def may_be_enlarged(self, network: Network) -> bool:
        """Return whether the enlargement shifts the levels by a whole number."""
        return network.enlarges_levels

    def assistant_of(self, network: Network, said: Assistant, student: Student, recipe: "Recipe") -> Network:
        """Return the assistant with its teacher's levels, and the levels that correspond to its student's (AFP)."""
        assert recipe.detector is not None
        own = merged(recipe.detector, said.detector)
        if not (said.detector and "levels" in said.detector.model_fields_set):
            own = own.model_copy(update={"levels": self._levels(network.image_size, student, recipe)})
        return network.model_copy(update={"detector": own})

    def _levels(self, image_size: int, student: Student, recipe: "Recipe") -> tuple[int, int]:
        assert recipe.teacher is not None
        first, last = self.complete(recipe.teacher, recipe).scaled_detector.levels
        smaller = size_shift(recipe.teacher.image_size, image_size)
        of_student = self.complete(student, recipe).scaled_detector.levels
        levels = assistant_levels((first - smaller, last - smaller), of_student, size_shift(image_size, student.image_size))
        if not MIN_LEVEL <= levels[0] <= levels[1] <= MAX_LEVEL:
            raise RecipeError(
                f"the assistant at {image_size} would need P{levels[0]}–P{levels[1]} to have its teacher's levels and "
                f"{student.label}'s, and there are P{MIN_LEVEL}–P{MAX_LEVEL}: choose other `levels` for the student, or "
                "`assistant.detector.levels`"
            )
        return levels

    def terms_of_assistant(self, assistant: Network, student: Student, recipe: "Recipe") -> tuple[Term, ...]:
        """Return an assistant's terms if the recipe names none.

        The student may have fewer levels than the assistant. Then the assistant's supervised term names the shared ones.
        """
        assert assistant.detector is not None
        own = assistant.detector.numbers
        shared = shared_levels(
            self.complete(student, recipe).scaled_detector.numbers, student.image_size, own, assistant.image_size
        )
        if not shared or tuple(shared) == own:
            return self.assistant_terms
        told = SupervisedTerm(kind="supervised", shared_levels=(shared[0], shared[-1]))
        return tuple(told if isinstance(term, SupervisedTerm) else term for term in self.assistant_terms)

    def title(self, network: Network) -> str:
        """Return the name of a network in tables. It includes the levels, because two networks may differ only in these."""
        settings: DetectorSettings | None = network.detector
        levels = f", P{settings.levels[0]}–P{settings.levels[1]}" if settings else ""
        return f"{super().title(network)}{levels}"


def _schedule(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a detector's schedule with its own defaults: smaller batches, with a larger learning rate for their size."""
    known = {"batch_size": BATCH, "clip_grad": CLIP_GRAD, **said}
    size = known["batch_size"]
    if known.get("optimizer", "adamw") == "adamw" and "lr" not in known and isinstance(size, int) and size > 0:
        known["lr"] = LR * (size / BATCH) ** 0.5
    return known
