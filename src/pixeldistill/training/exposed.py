"""What a detector knows on the levels that it exposes: said before students learn from it."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from pixeldistill.cards import read_done
from pixeldistill.networks.detector import Detector
from pixeldistill.networks.pyramid import exposed_levels
from pixeldistill.recipe import Network, Stage
from pixeldistill.run_folder import DONE
from pixeldistill.tasks.headline import decisive
from pixeldistill.training.evaluate import TestImages, evaluate
from pixeldistill.training.fabric import Fabric
from pixeldistill.training.passes import Training


def describe_exposed(
    trainings: Sequence[Training], network: Detector, images: TestImages, stages: Sequence[Stage], folders: Mapping[str, Path],
    fabric: Fabric,
) -> list[str]:  # fmt: skip
    """Measure a teacher on val, on the levels that correspond to its students' levels.

    Args:
        trainings: its students'.
        network: the teacher, on the device.
        images: of val, at its side.
        stages: all of the recipe; a student that was trained alone is compared.
        folders: of each stage's first seed.
        fabric: of this process.

    Returns:
        A line for each student; a warning where the student alone is as good as its teacher there.
    """
    lines: list[str] = []
    told: list[Network] = []
    numbers = network.settings.numbers

    @cache
    def score_on(levels: range | None) -> float:
        return decisive(evaluate(network, images, fabric, levels))

    for training in trainings:
        student = training.stage.student
        assert training.stage.teacher is not None
        exposed = exposed_levels(student.seen.numbers, student.side, numbers, training.stage.teacher.side)
        if not exposed or _plain(student) in told:
            continue
        told.append(_plain(student))
        score = score_on(exposed)
        said = f"{training.stage.name}: its teacher has mAP {100 * score:.1f} on val with the levels it exposes"
        line = f"{said}, P{exposed[0]}–P{exposed[-1]}"
        if len(exposed) < len(numbers):
            line += f" ({100 * score_on(None):.1f} with all)"
        own_kind = [s for s in stages if s.teacher is None and _plain(s.student) == _plain(student)]
        # An assistant may be what its teacher is, which is then no training of it alone.
        plain = [s for s in own_kind if s.name not in training.stage.sources and (folders[s.name] / DONE).is_file()]
        if plain:
            own = decisive(read_done(folders[plain[0].name] / DONE)["last"]["val"])
            line += f"; the student alone has {100 * own:.1f}"
            if score <= own:
                finer = "choose finer levels for the student" + (", or another `anchor`" if student.seen.head != "fcos" else "")
                fix = finer if len(exposed) < len(numbers) and score_on(None) > own else "train it longer"
                line = f"warning: {line}: it has little to teach there; {fix}"
        lines.append(line)
    return lines


def _plain(network: Network) -> Network:
    """Leave aside what a student starts from."""
    return network.model_copy(update={"weights": "none"})
