"""Terms on every pairing of families: what they pair, how they adapt, and who learns."""

import pytest
import torch

from pixeldistill.errors import RecipeError
from pixeldistill.networks import build_classifier
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.recipe.losses import ATTerm, HintTerm, ICKDTerm, PKDTerm, SPTerm, UpsampledTerm
from pixeldistill.recipe.schedule import Schedule
from pixeldistill.recipe.tasks import RULES
from pixeldistill.terms import build_term, wanted_maps
from pixeldistill.terms.pairing import pair_maps
from pixeldistill.training.fabric import make_fabric
from pixeldistill.training.objective import Objective
from pixeldistill.training.schedule import build_optimizer, term_weight
from pixeldistill.training.teacher import LiveTeacher
from pixeldistill.types import Batch, FeatureSpec, MapSpec, View

CNN = {"zero_init_last": False}
FAMILIES = {
    "resnet18": CNN,
    "tf_efficientnet_lite0": {},
    "convnext_atto": {},
    "vit_tiny_patch16_224": {"depth": 4},
    "swin_tiny_patch4_window7_224": {"depths": (2, 2, 2, 2)},
}
ONE_STAGE = ["pkd", "dkd", "dist", "exits", "isrd", "at", "sp", "ickd", "hint"]
TWO_STAGES = [["pkd", "at", "hint"], ["pkd", "upsampled", "isrd"]]


def objective_of(kinds, student, teacher):
    content = {
        "data": {"format": "folder", "root": "x"}, "teacher": {"network": "resnet18", "image_size": 224, "weights": "x"},
        "student": {"network": "resnet18", "image_size": 56}, "schedule": {"epochs": 1}, "run": "x",
        "terms": [{"kind": kind} for kind in kinds],
    }  # fmt: skip
    return Objective(student, teacher.spec, parse_recipe(content).terms, epochs=1)


def step(objective, teacher, image_size):
    """Do a step on random images; gives the losses."""
    live = LiveTeacher(teacher, make_fabric(accelerator="cpu"), objective.wanted, channels_last=False)
    target = torch.tensor([0, 1, 2])
    large = torch.rand(3, 3, 224, 224)
    small = torch.nn.functional.interpolate(large, image_size, mode="bilinear", antialias=True)
    outputs = live(large, torch.zeros(3, 2)).outputs(objective.wanted)
    losses = objective(Batch({"student": View(small, target), "teacher": View(large, target)}, outputs))
    losses["loss"].backward()
    return losses


@pytest.mark.parametrize("kinds", [["pkd", "dkd", "dist", "exits", "isrd", "at", "sp", "ickd", "hint"], ["pkd", "upsampled"]])
def test_terms_in_mixed_precision_are_nearly_those_in_full(kinds):
    """Whether the teacher is live, and rounded as the student is, or read from a teacher cache, and is not."""
    torch.manual_seed(3)
    teacher, student = (build_classifier("resnet18", 5, image_size, options=CNN) for image_size in (224, 112))
    objective = objective_of(kinds, student, teacher).eval()
    full = step(objective, teacher, 112)
    images = torch.rand(3, 3, 224, 224)
    views = {"student": View(images[..., ::2, ::2], torch.tensor([0, 1, 2])), "teacher": View(images, torch.tensor([0, 1, 2]))}
    for precision in ("32", "bf16"):
        live = LiveTeacher(teacher, make_fabric(precision, "cpu"), objective.wanted, channels_last=False)
        said = live(images, torch.zeros(3, 2)).outputs(objective.wanted)
        plain = objective(Batch(views, said))
        with torch.autocast("cpu", torch.bfloat16):
            mixed = objective(Batch(views, said))
        mixed["loss"].backward()
        for name, value in plain.items():
            assert mixed[name].dtype == torch.float32, name
            assert mixed[name].item() == pytest.approx(value.item(), rel=0.1, abs=1e-5), name
    assert full.keys() == plain.keys()


def check(objective, teacher, losses):
    assert all(value.isfinite() and value > 0 for value in losses.values())
    still = [n for n, p in objective.named_parameters() if p.grad is None or not p.grad.any() or not p.grad.isfinite().all()]
    assert not still, "every parameter of the student and of the adapters learns"
    assert all(p.grad is None for p in teacher.parameters())


@pytest.fixture(scope="module")
def teachers():
    torch.manual_seed(0)
    return {name: build_classifier(name, 5, 224, options=options) for name, options in FAMILIES.items()}


@pytest.mark.parametrize("image_size", [112, 56, 80])
@pytest.mark.parametrize("student", FAMILIES)
@pytest.mark.parametrize("teacher", FAMILIES)
def test_every_term_on_every_pairing_in_one_stage(teachers, teacher, student, image_size):
    torch.manual_seed(1)
    network = build_classifier(student, 5, image_size, options=FAMILIES[student])
    objective = objective_of(ONE_STAGE, network, teachers[teacher])
    check(objective, teachers[teacher], step(objective, teachers[teacher], image_size))


@pytest.mark.parametrize("image_size", [112, 56, 80])
@pytest.mark.parametrize("student", FAMILIES)
def test_two_stages(teachers, student, image_size):
    """Any teacher for the assistant at the large side; then the assistant for its own architecture."""
    torch.manual_seed(1)
    teacher = teachers["vit_tiny_patch16_224" if student == "resnet18" else "resnet18"]
    assistant = build_classifier(student, 5, 224, options=FAMILIES[student])
    objective = objective_of(TWO_STAGES[0], assistant, teacher)
    check(objective, teacher, step(objective, teacher, 224))
    assistant.zero_grad(set_to_none=True)
    objective = objective_of(TWO_STAGES[1], build_classifier(student, 5, image_size, options=FAMILIES[student]), assistant)
    check(objective, assistant, step(objective, assistant, image_size))


def spec(image_size, *maps):
    return FeatureSpec(
        "classification", (image_size, image_size), 5, MapSpec(3, image_size, image_size), tuple(MapSpec(8, m, m) for m in maps)
    )


RESNET, RESNET_56, VIT, SHORT = (
    spec(224, 112, 56, 28, 14, 7), spec(56, 28, 14, 7, 4, 2), spec(56, 3, 3, 3, 3), spec(224, 28, 14, 7),
)  # fmt: skip


@pytest.mark.parametrize(
    ("maps", "student", "teacher", "pairs"),
    [
        ("all", RESNET_56, RESNET, [(1, 1), (2, 2), (3, 3), (4, 4)]),
        ("last", RESNET_56, RESNET, [(4, 4)]),
        ("all", VIT, RESNET, [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ("all", RESNET_56, VIT, [(1, 0), (2, 1), (3, 2), (4, 3)]),
        ("all", SHORT, RESNET, [(0, 2), (1, 3), (2, 4)]),
        ("all", RESNET, SHORT, [(1, 0), (2, 1), (3, 2), (4, 2)]),
        ((0, -1), RESNET_56, RESNET, [(0, 0), (4, 4)]),
        ((1,), RESNET_56, RESNET, [(1, 1)]),
    ],
)
def test_maps_are_paired_by_depth(maps, student, teacher, pairs):
    assert [tuple(pair) for pair in pair_maps(maps, student, teacher, "at")] == pairs


def test_a_map_that_is_not_there():
    with pytest.raises(RecipeError, match="term at: maps 5: the student has 5 maps, 0 to 4"):
        pair_maps((5,), RESNET_56, RESNET, "at")


def test_terms_ask_for_no_more_of_the_teacher_than_they_need():
    terms = [build_term(config, RESNET_56, RESNET) for config in (ATTerm(kind="at"), SPTerm(kind="sp"))]
    assert [tuple(want) for want in wanted_maps(terms[:1])] == [(1, 14, 14), (2, 7, 7), (3, 4, 4), (4, 2, 2)]
    assert tuple(wanted_maps(terms)[-1]) == (4, 7, 7), "sp compares the whole map, at pools it then"
    assert wanted_maps([build_term(PKDTerm(kind="pkd"), RESNET_56, RESNET)]) == ()


def test_upsampled_says_what_would_work():
    other = FeatureSpec("classification", (224, 224), 5, MapSpec(3, 224, 224), (MapSpec(16, 7, 7),))
    with pytest.raises(RecipeError, match=r"8×2×2 with 16×7×7: it needs equal channels.*hint"):
        build_term(UpsampledTerm(kind="upsampled"), RESNET_56, other)


@pytest.mark.parametrize("config", [ICKDTerm(kind="ickd"), HintTerm(kind="hint")])
def test_projectors_reach_the_optimiser(config):
    """In the published code ICKD's does not."""
    objective = Objective(build_classifier("test_resnet", 5, 32), RESNET, (PKDTerm(kind="pkd"), config), 1)
    optimised = {
        id(p)
        for group in build_optimizer(objective, Schedule(epochs=1, optimizer="sgd", lr=1)).param_groups
        for p in group["params"]
    }
    learned = list(objective.terms[config.kind].parameters())
    assert learned and all(id(p) in optimised for p in learned)
    names = {f"terms.{config.kind}.{name}" for name, _ in objective.terms[config.kind].named_parameters()}
    assert names <= objective.state_dict().keys(), "and the checkpoint"


def test_one_kind_of_term_twice():
    terms = (PKDTerm(kind="pkd"), ATTerm(kind="at", maps=(1,)), ATTerm(kind="at", maps=(3,), weight=2))
    objective = Objective(build_classifier("test_resnet", 5, 32), RESNET, terms, 1)
    assert list(objective.terms) == ["pkd", "at", "at-2"]
    assert objective.wanted[0].number < objective.wanted[1].number


def test_controls_are_paired_as_the_network_itself():
    """An enlarged image and a stem of stride 1 change the maps' sizes, not which of them belong to the stem."""
    teacher = build_classifier("test_resnet", 5, 64).spec
    usual = pair_maps("all", build_classifier("test_resnet", 5, 32).spec, teacher, "at")
    for control in ({"enlarge": 64}, {"stem_stride": 1}):
        assert pair_maps("all", build_classifier("test_resnet", 5, 32, **control).spec, teacher, "at") == usual


def test_every_kind_has_a_term_and_describes_itself():
    from pixeldistill.plugins import load
    from pixeldistill.recipe.losses import losses

    for config in losses().values():
        assert all(issubclass(load(place), torch.nn.Module) for place in config.computed_by.values())
    own = {kind for kind, config in losses().items() if config.__module__.startswith("pixeldistill.")}
    assert RULES["classification"].losses.keys() & own == own - {"boxes", "fkd", "crosskd"}
    assert RULES["detection"].losses.keys() & own == own - {"dkd", "dist", "exits"}
    assert "8×2×2 ↔ 8×7×7" in build_term(SPTerm(kind="sp"), RESNET_56, RESNET).describe()


def test_a_weight_rises_and_falls():
    term = PKDTerm(kind="pkd", weight=3, warmup_epochs=2, cooldown_epochs=4)
    assert [term_weight(term, epoch, 10) for epoch in (0, 1, 2, 6, 8, 10)] == [0, 1.5, 3, 3, 1.5, 0]
