"""Chains: what a method stands for, what a user may write out, and what cannot be trained."""

import pytest

from pixeldistill.errors import RecipeError
from pixeldistill.recipe.data import Augmentation
from pixeldistill.recipe.expand import entries, expand
from pixeldistill.recipe.load import parse_recipe
from pixeldistill.runs.passes import passes

PKD = {"kind": "pkd"}


@pytest.fixture
def tas(content):
    return {**content, "method": "tas"}


def chain(stages):
    return [
        (s.name, s.student.image_size, s.student.weights, s.teacher and str(s.teacher.weights), [t.kind for t in s.terms])
        for s in stages
    ]


def test_two_stages_by_default(tas):
    stages = expand(parse_recipe(tas | {"seeds": [4, 5], "teacher_cache": {"views": 2}}))
    assert [s.teacher_cache is not None for s in stages] == [False, False, True], "an assistant is taught live"
    assert chain(stages) == [
        ("teacher", 32, "none", None, ["supervised"]),
        ("assistant", 32, "none", "@teacher", ["pkd", "at"]),
        ("distilled", 16, "none", "@assistant", ["pkd", "upsampled"]),
    ]
    known = expand(parse_recipe(tas | {"student": tas["student"] | {"weights": "pretrained"}}))
    assert known[1].student.weights == "pretrained", "an assistant starts as its student does"
    assert [s.seeds for s in stages] == [(4,), (4,), (4, 5)], "one teacher and one assistant for all seeds"
    assert stages[1].student.network == stages[2].student.network
    assert {s.crop_size for s in stages} == {32}


def test_a_teacher_is_trained_with_one_seed_whoever_learns_from_it(content):
    for student in (content["student"], None):
        stages = expand(parse_recipe(content | {"student": student, "seeds": [4, 5]}))
        assert (stages[0].name, stages[0].seeds) == ("teacher", (4,))


def test_the_student_may_start_from_the_assistant_and_its_controls_do_not(tas):
    tas["student"].pop("weights")
    stages = {s.name: s for s in expand(parse_recipe(tas | {"controls": ["supervised", "pkd"]}))}
    assert str(stages["distilled"].student.weights) == "@assistant"
    assert stages["supervised"].student.weights == stages["pkd"].student.weights == "pretrained"


def test_one_assistant_for_several_students_of_its_architecture_and_one_for_each_other(tas):
    tas |= {"student": None, "students": [{"network": n, "image_size": s} for n, s in (("a", 16), ("a", 8), ("b", 16))]}
    assert [(s.name, s.teacher and str(s.teacher.weights)) for s in expand(parse_recipe(tas))] == [
        ("teacher", None), ("assistant-a", "@teacher"), ("assistant-b", "@teacher"),
        ("distilled-a-16", "@assistant-a"), ("distilled-a-8", "@assistant-a"), ("distilled-b-16", "@assistant-b"),
    ]  # fmt: skip
    shared = expand(parse_recipe(tas | {"assistant": {"network": "c"}}))
    assert [s.student.network for s in shared if s.name == "assistant"] == ["c"]
    assert {str(s.teacher.weights) for s in shared if s.name.startswith("distilled")} == {"@assistant"}


def test_a_given_assistant_is_not_trained(tas):
    tas["student"].pop("weights")
    stages = expand(parse_recipe(tas | {"assistant": {"weights": "runs/a"}}))
    assert [s.name for s in stages] == ["teacher", "distilled"]
    assert stages[1].teacher.weights == stages[1].student.weights == "runs/a"
    assert stages[1].teacher.network == stages[1].student.network
    trained = expand(
        parse_recipe(tas | {"assistant": {"weights": "runs/a", "schedule": {"epochs": 1, "optimizer": "sgd", "lr": 1}}})
    )
    assert [s.name for s in trained] == ["teacher", "assistant", "distilled"]


def test_what_a_recipe_stands_for_may_be_written_out(tas):
    """The entries of a recipe, as `stages` of another, give the same stages."""
    short = parse_recipe(tas | {"controls": ["supervised", "pkd"], "teacher_cache": {"views": "exact"}, "seeds": [0, 1]})
    written = [entry.model_dump(mode="json", exclude_none=True) for entry in entries(short)]
    kept = {key: tas[key] for key in ("data", "schedule", "run")}
    long = parse_recipe(kept | {"stages": written, "teacher_cache": {"views": "exact"}, "seeds": [0, 1]})
    assert expand(long) == expand(short)


def stage(name, image_size, teacher=None, weights="none", **more):
    terms = [{"kind": "pkd"}] if teacher else [{"kind": "supervised"}]
    found = {"name": name, "student": {"network": "a", "image_size": image_size, "weights": weights}, "terms": terms, **more}
    return found | ({"teacher": teacher} if teacher else {})


def parse(content, *stages, **more):
    return parse_recipe({**{key: content[key] for key in ("data", "schedule", "run")}, "stages": list(stages), **more})


def test_any_chain_may_be_written(content):
    """Here the image shrinks in two steps, each student starting from the one before."""
    recipe = parse(
        content, stage("large", 64, schedule={"epochs": 7, "optimizer": "sgd", "lr": 1}), stage("half", 32, "large", "@large"),
        stage("quarter", 16, "half", "@half"), seeds=[2, 3], teacher_cache={"views": 5},
    )  # fmt: skip
    stages = expand(recipe)
    assert [(s.name, s.seeds, s.schedule.epochs, s.distinct_views, s.teacher_cache is not None) for s in stages] == [
        ("large", (2,), 7, None, False), ("half", (2,), 2, 5, True), ("quarter", (2, 3), 2, 5, True),
    ]  # fmt: skip
    assert {s.crop_size for s in stages} == {64}


def test_a_student_may_learn_from_the_mean_of_several_teachers(compared):
    given = {"network": "b", "image_size": 32, "weights": "runs/b"}
    compare = {"pkd": None, "tas": None, "both": {"chain": "tas", "with_teacher": True}}
    stages = {s.name: s for s in expand(parse_recipe(compared | {"compare": compare, "other_teachers": [given]}))}
    assert {name: [str(t.weights) for t in s.teachers] for name, s in stages.items()} == {
        "teacher": [], "assistant": ["@teacher", "runs/b"], "pkd": ["@teacher", "runs/b"], "tas": ["@assistant"],
        "both": ["@assistant", "@teacher", "runs/b"],
    }  # fmt: skip
    assert stages["both"].sources == ("assistant", "teacher")
    assert {s.crop_size for s in stages.values()} == {32}
    larger = expand(parse_recipe(compared | {"compare": ["pkd"], "other_teachers": [given | {"image_size": 48}]}))
    assert {s.crop_size for s in larger} == {48}, "views are as large as the largest network reads"
    with pytest.raises(RecipeError, match=r"with_teacher.* needs `chain: tas`"):
        parse_recipe(compared | {"compare": {"both": {"with_teacher": True}}})
    with pytest.raises(RecipeError, match=r"other_teachers` need a `teacher`"):
        parse_recipe({key: value for key, value in compared.items() if key != "teacher"} | {"other_teachers": [given]})


def test_a_stage_and_a_method_may_have_views_of_their_own(content, compared):
    narrow = {"scale": [0.8, 1], "flip": 0}
    recipe = parse(content, stage("large", 32), stage("small", 16, "large", augmentation=narrow), augmentation={"seed": 3})
    large, small = expand(recipe)
    assert large.augmentation == recipe.augmentation
    assert (small.augmentation.scale, small.augmentation.seed) == ((0.8, 1), 0), "it says all that differs from the defaults"
    methods = expand(parse_recipe(compared | {"compare": {"pkd": None, "narrow": {"terms": [PKD], "augmentation": narrow}}}))
    assert [s.augmentation.scale[0] for s in methods if s.teacher] == [Augmentation().scale[0], 0.8]
    assert sum(len(group) > 1 for group in passes(recipe, methods)) == 0, "other views are another stream"
    mixed = stage("small", 16, "large", augmentation={"mixup": 0.2}) | {"terms": [{"kind": "pkd"}, {"kind": "dkd"}]}
    with pytest.raises(RecipeError, match=r"stage small: dkd .* augmentation.mixup"):
        parse(content, stage("large", 32), mixed)
    with pytest.raises(RecipeError, match=r"augmentation.visible is of boxes"):
        parse(content, stage("large", 32, augmentation={"visible": 0.5}))


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([stage("a", 32), stage("b", 16, "c")], r"stage b starts from stage 'c', which no stage before it is called: valid: a"),
        ([stage("b", 16, "c"), stage("c", 32)], r"stage b starts from stage 'c'.*it is the first"),
        ([stage("b", 16, weights="@b")], r"stage b starts from stage 'b'"),
        ([stage("a", 16), stage("b", 32, "a")], r"stage b: its student reads 32 pixels, its teacher 16"),
        ([stage("a", 16), stage("a", 16)], r"stages names one thing twice"),
        ([stage("b", 16, {"network": "a", "image_size": 32})], r"stage b: its teacher is not trained \(weights: pretrained"),
        ([stage("b", 16, other_teachers=["a"])], r"stage b: `other_teachers` help a `teacher`, and it has none"),
        ([stage("a", 32), stage("b", 16, "a", other_teachers=["c"])], r"stage b starts from stage 'c'.* valid: a"),
        (
            [stage("a", 32), stage("b", 16, "a", other_teachers=[{"network": "a", "image_size": 8, "weights": "runs/a"}])],
            r"stage b: its student reads 16 pixels, its teacher 8",
        ),
        ([stage("a/b", 16)], r"stages.0.name"),
        ([stage("a", 16) | {"terms": [{"kind": "pkd"}]}], r"stage a: term pkd compares the student with a teacher"),
        ([stage("a", 16) | {"terms": []}], r"stages.0.terms"),
        ([stage("a", 16) | {"studnet": 1}], r"stages.0.studnet: unknown key, did you mean student"),
    ],
)
def test_a_chain_that_cannot_be_trained(content, stages, words):
    with pytest.raises(RecipeError, match=words):
        parse(content, *stages)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "ts", "assistant": {}}, r"`assistant` is the middle of two stages: it needs `method: tas`"),
        ({"assistant": {"weights": "@teacher"}}, r"assistant.weights '@teacher': @ is reserved for `stages`"),
        ({"assistant": {"image_size": 64}}, r"stage assistant: its student reads 64 pixels, its teacher 32"),
        (
            {"terms": [{"kind": "pkd"}, {"kind": "dkd"}], "augmentation": {"mixup": 0.2}},
            r"stage distilled: dkd .* augmentation.mixup",
        ),
        ({"terms": [{"kind": "pkd", "warmup_epochs": 3}]}, r"term pkd rises and falls over more than the stage's 2 epochs"),
        ({"assistant": {"weights": "runs/a", "terms": [{"kind": "pkd"}]}}, r"assistant.terms would train it"),
        ({"stages": [stage("a", 16)]}, r"`stages` say all that `teacher` says"),
        ({"terms": [{"kind": "at", "maps": "lst"}, {"kind": "pkd"}]}, r"terms.0.maps: 'lst' is not valid, did you mean last\?$"),
    ],
)
def test_a_combination_that_means_nothing(tas, changes, words):
    with pytest.raises(RecipeError, match=words):
        parse_recipe(tas | changes)


@pytest.fixture
def compared(content):
    content["student"] |= {"weights": "pretrained"}
    return {**content, "schedule": content["schedule"] | {"epochs": 12}, "seeds": [0, 1]}


def test_a_comparison_is_stages_too(compared):
    compare = dict.fromkeys(["supervised", "at", "dkd", "tas", "tas-warm-start", "ts-equal-compute", "stem", "enlarged"])
    compare |= {"supervised": {"seeds": [0, 1, 2]}, "mine": {"terms": [{"kind": "pkd"}, {"kind": "hint"}]}}
    stages = {s.name: s for s in expand(parse_recipe(compared | {"compare": compare}))}
    assert list(stages) == ["teacher", "assistant", *compare]
    assert stages["supervised"].seeds == (0, 1, 2)
    assert stages["assistant"].seeds == stages["teacher"].seeds == (0,)
    assert [(t.kind, t.weight) for t in stages["at"].terms] == [("supervised", 1), ("at", 1000)]
    assert stages["dkd"].terms[1].warmup_epochs == 2, "a sixth of the schedule"
    assert stages["tas"].student.weights == "pretrained"
    assert str(stages["tas-warm-start"].student.weights) == "@assistant"
    assert stages["tas"].teacher == stages["tas-warm-start"].teacher
    assert stages["ts-equal-compute"].match_compute_of == "tas"
    assert stages["stem"].student.stem_stride == 1
    assert stages["enlarged"].student.enlarge == 32
    assert stages["enlarged"].student.image_size == 16
    assert [t.kind for t in stages["mine"].terms] == ["pkd", "hint"]


def test_a_list_of_methods_is_enough(compared):
    names = [s.name for s in expand(parse_recipe(compared | {"compare": ["supervised", "pkd"]}))]
    assert names == ["teacher", "supervised", "pkd"]
    several = compared | {"student": None, "students": [{"network": "a", "image_size": s} for s in (8, 16)]}
    several |= {"compare": ["supervised", "tas", "ts-equal-compute"]}
    stages = {s.name: s for s in expand(parse_recipe(several))}
    assert stages["ts-equal-compute-a-8"].match_compute_of == "tas-a-8"
    assert list(stages)[1] == "assistant-a", "one for both sides"


def test_what_the_start_alone_is_worth_is_a_control(compared):
    stages = {s.name: s for s in expand(parse_recipe(compared | {"compare": ["supervised-warm-start", "pkd-warm-start"]}))}
    assert list(stages) == ["teacher", "assistant", "supervised-warm-start", "pkd-warm-start"]
    assert {str(stages[name].student.weights) for name in ("supervised-warm-start", "pkd-warm-start")} == {"@assistant"}
    assert stages["supervised-warm-start"].teacher is None
    assert stages["pkd-warm-start"].teacher == stages["assistant"].teacher


@pytest.mark.parametrize(
    ("compare", "words"),
    [
        (["supervized"], r"compare: unknown method 'supervized', did you mean supervised"),
        (["ts-equal-compute"], r"compare.ts-equal-compute lasts as long as 'tas', which is not compared"),
        ({"supervised": {"terms": [{"kind": "pkd"}]}}, r"compare.supervised: `terms` compare the student with a teacher"),
        ({"pkd": {"epoch": 3}}, r"compare.pkd.epoch: unknown key, did you mean epochs"),
        ({"tas": {"epochs": 3, "match_compute_of": "ts"}, "ts": None}, r"give one of the two"),
        ([], r"compare"),
    ],
)
def test_a_comparison_that_means_nothing(compared, compare, words):
    with pytest.raises(RecipeError, match=words):
        parse_recipe(compared | {"compare": compare})


def test_a_method_that_lasts_longer_keeps_the_shape_of_its_terms(compared):
    terms = [{"kind": "supervised"}, {"kind": "dkd", "warmup_epochs": 3, "cooldown_epochs": 2}]
    methods = {"ts": {"epochs": 36}, "own": {"terms": terms, "epochs": 36}}
    stages = {s.name: s for s in expand(parse_recipe(compared | {"terms": terms, "compare": methods}))}
    assert (stages["ts"].terms[1].warmup_epochs, stages["ts"].terms[1].cooldown_epochs) == (9, 6)
    assert stages["own"].terms[1].warmup_epochs == 3, "what a method says of its own terms is meant for its own epochs"


def test_an_assistant_sees_the_undisturbed_image_whatever_else_is_compared(compared):
    camera = {"codec": "jpeg", "quality": 30, "colour": "grey", "kernel": "bicubic"}
    for methods in (["supervised-warm-start"], ["supervised-warm-start", "tas"]):
        stages = {s.name: s for s in expand(parse_recipe(compared | {"camera": camera, "compare": methods}))}
        assert stages["assistant"].student.input_spec.camera.words == "raw, bicubic"
        assert stages["supervised-warm-start"].student.input_spec.camera.words == "jpeg 30 grey, bicubic"


def test_seeds_are_a_set(content):
    recipe = parse_recipe(content | {"seeds": [3, 1]})
    assert recipe.seeds == (1, 3), "the first of them is what a run folder stands for"


def test_a_longer_schedule_keeps_its_shape():
    from pixeldistill.recipe.schedule import Schedule

    schedule = Schedule(epochs=120, lr=1, decay="step", milestones=(30, 60, 90), warmup_epochs=1)
    assert schedule.lasting(240).milestones == (60, 120, 180)
    assert schedule.lasting(240).warmup_epochs == 1
    assert schedule.lasting(60).warmup_epochs == 0.5
    short = schedule.lasting(1)
    assert (short.milestones, short.decay) == ((), "constant"), "too short for a step"
    assert Schedule(**short.model_dump()) == short


def test_a_teacher_decides_the_crop_whoever_is_taught(compared):
    """So that a method may be added to controls that are trained already."""
    given = compared | {"teacher": {"network": "a", "image_size": 32, "weights": "runs/t"}}
    for methods in (["supervised"], ["supervised", "pkd"]):
        assert {s.crop_size for s in expand(parse_recipe(given | {"compare": methods}))} == {32}


def test_a_student_that_is_added_leaves_the_others_their_assistant(compared):
    several = compared | {"student": None, "compare": ["tas"]}
    one = [{"network": "a", "image_size": 16, "patch_size": 4}]
    before = expand(parse_recipe(several | {"students": one}))
    more = [{"network": "b", "image_size": 16}, {"network": "a", "image_size": 16, "patch_size": 8, "name": "c"}]
    after = expand(parse_recipe(several | {"students": [*one, *more]}))
    assert {s.name for s in before} <= {s.name for s in after}
    assert {s.name: s for s in before}["tas-a-16"] == {s.name: s for s in after}["tas-a-16"]
    patches = {s.name: s.student.patch_size for s in after if s.name.startswith("assistant")}
    assert patches == {"assistant-a": 4, "assistant-b": None, "assistant-c": 8}, "each student's own architecture"


def test_controls_start_as_the_assistant_does(tas):
    tas["student"].pop("weights")
    for weights, expected in (("none", "none"), ("pretrained", "pretrained")):
        stages = {s.name: s for s in expand(parse_recipe(tas | {"controls": ["supervised"], "assistant": {"weights": weights}}))}
        assert stages["supervised"].student.weights == expected


def test_in_a_comparison_methods_say_themselves_what_the_student_starts_from(compared):
    """Else `tas` and `tas-warm-start` would be one training, twice."""
    compared["student"].pop("weights")
    stages = {s.name: s for s in expand(parse_recipe(compared | {"compare": ["supervised", "tas", "tas-warm-start"]}))}
    starts = {name: str(stages[name].student.weights) for name in ("supervised", "tas", "tas-warm-start")}
    assert starts == {"supervised": "pretrained", "tas": "pretrained", "tas-warm-start": "@assistant"}


def test_a_start_of_another_architecture_is_refused(compared):
    with pytest.raises(RecipeError, match="test_resnet cannot start from the weights of stage assistant, which is a b"):
        expand(parse_recipe(compared | {"compare": ["pkd-warm-start"], "assistant": {"network": "b"}}))


@pytest.mark.parametrize(
    ("teacher", "student", "start"),
    [
        ({}, {}, "@teacher"),
        ({}, {"stem_stride": 1}, "@teacher"),
        ({"schedule": None, "weights": "runs/t"}, {}, "runs/t"),
        ({}, {"weights": "pretrained"}, "pretrained"),
        ({}, {"network": "b"}, "pretrained"),
        ({}, {"options": {"drop_rate": 0.1}}, "pretrained"),
        ({"mean": [0, 0, 0]}, {}, "pretrained"),
        ({"schedule": None, "weights": "t.pth", "class_order": "alphabetical"}, {}, "pretrained"),
    ],
)
def test_a_student_of_its_teachers_architecture_starts_from_its_weights(content, teacher, student, start):
    content["teacher"] |= {"network": "a", "weights": "pretrained"} | teacher
    content["student"] = {"network": "a", "image_size": 16} | student
    stages = {s.name: s for s in expand(parse_recipe(content | {"controls": ["supervised"]}))}
    assert str(stages["distilled"].student.weights) == start
    assert stages["supervised"].student.weights == content["student"].get("weights", "pretrained")


def test_a_detector_starts_from_one_of_other_levels_but_not_of_other_channels(content):
    content |= {
        "task": "detection",
        "data": {"format": "coco", "root": "d", "train": "a.json", "val": "b.json"},
        "terms": None,
        "controls": [],
    }
    content["teacher"] |= {"network": "a", "image_size": 512, "weights": "pretrained"}
    for settings, start in (({"levels": [2, 6]}, "@teacher"), ({"channels": 64}, "pretrained")):
        content["student"] = {"network": "a", "image_size": 256, "detector": settings}
        assert str(expand(parse_recipe(content))[-1].student.weights) == start


@pytest.mark.parametrize(("network", "start"), [("a", "none"), ("b", "pretrained")])
def test_controls_of_a_teacher_from_scratch_are_so_too(content, network, start):
    content["teacher"] |= {"network": "a", "weights": "none"}
    content["student"] = {"network": network, "image_size": 16}
    stages = {s.name: s for s in expand(parse_recipe(content | {"controls": ["supervised"]}))}
    assert stages["supervised"].student.weights == start


def test_an_assistant_of_another_architecture_gives_its_students_no_weights(tas):
    """The student and its control are what they would be without it, whatever the assistant starts from."""
    tas["student"] = {"network": "a", "image_size": 16}
    for weights in ("none", "runs/b"):
        assistant = {"network": "b", "weights": weights, "schedule": {"epochs": 1}}
        stages = expand(parse_recipe(tas | {"assistant": assistant, "controls": ["supervised"], "terms": [PKD]}))
        assert [s.student.weights for s in stages[2:]] == ["pretrained", "pretrained"]


def test_plain_distillation_is_a_control_of_a_student_that_starts_from_its_teacher(content):
    content = content | {"terms": None, "controls": ["pkd"], "student": {"network": "a", "image_size": 16}}
    content["teacher"] |= {"network": "a", "weights": "pretrained"}
    stages = expand(parse_recipe(content))
    assert [str(s.student.weights) for s in stages] == ["pretrained", "pretrained", "@teacher"]
    content["teacher"] |= {"network": "b"}
    with pytest.raises(RecipeError, match="pkd is what the student learns by already"):
        expand(parse_recipe(content))


def test_a_chosen_candidate_keeps_the_start_that_was_said(content):
    from pixeldistill.recipe.load import told

    content["teacher"] |= {"network": "a", "weights": "pretrained"}
    for weights, start in (("pretrained", "pretrained"), ("auto", "@teacher")):
        student = parse_recipe(content | {"student": {"network": "a", "image_size": 16, "weights": weights}}).student
        again = parse_recipe(content | {"student": told(student)})
        assert str(expand(again)[-1].student.weights) == start
