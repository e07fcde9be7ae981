"""The published losses against float64 NumPy, written sample by sample from their papers' formulas."""

import numpy as np
import pytest
import torch

from pixeldistill.errors import ShapeError
from pixeldistill.functional import (
    attention_transfer,
    decoupled_kd,
    exit_loss,
    hint,
    inter_channel_correlation,
    relational_kd,
    similarity_preserving,
    upsampled_mse,
)

RNG = np.random.default_rng(3)
LOGITS = [RNG.normal(0, 3, (6, 5)) for _ in range(2)]
TARGET = RNG.integers(0, 5, 6)
SMALL, LARGE = RNG.normal(0, 1, (4, 3, 2, 2)), RNG.normal(0, 1, (4, 3, 4, 4))


def call(function, *arrays, **settings):
    return function(*map(torch.tensor, arrays), **settings).item()


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def kl(p, q):
    return float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True)))


def pooled(image, size):
    step = image.shape[-1] // size
    parts = [slice(i * step, (i + 1) * step) for i in range(size)]
    return np.array([[image[rows, columns].mean() for columns in parts] for rows in parts])


@pytest.mark.parametrize(("alpha", "beta", "temperature"), [(1, 2, 4), (1, 8, 4), (0.3, 0, 1), (0, 1, 2.5)])
def test_decoupled_kd(alpha, beta, temperature):
    total = 0.0
    for student, teacher, true in zip(*LOGITS, TARGET, strict=True):
        q, p = softmax(student / temperature), softmax(teacher / temperature)
        others = np.arange(5) != true
        target_class = kl([p[true], 1 - p[true]], [q[true], 1 - q[true]])
        total += alpha * target_class + beta * kl(p[others] / p[others].sum(), q[others] / q[others].sum())
    expected = pytest.approx(temperature**2 * total / 6, rel=1e-10)
    assert call(decoupled_kd, *LOGITS, TARGET, alpha=alpha, beta=beta, temperature=temperature) == expected


def test_decoupled_kd_is_plain_kd_where_its_weights_say_so():
    """KL = TCKD + (1 - p_target)·NCKD (the paper's Eq. 7), for one sample."""
    student, teacher = (torch.tensor(logits[:1]) for logits in LOGITS)
    target = torch.tensor(TARGET[:1])
    sure = torch.softmax(teacher / 4, dim=1)[0, target].item()
    expected = 16 * kl(*(torch.softmax(x / 4, dim=1)[0].numpy() for x in (teacher, student)))
    assert decoupled_kd(student, teacher, target, alpha=1, beta=1 - sure).item() == pytest.approx(expected, rel=1e-10)


def test_decoupled_kd_survives_a_teacher_without_doubt():
    student = torch.tensor([[1.0, 2.0, 0.0]], requires_grad=True)
    loss = decoupled_kd(student, torch.tensor([[2000.0, 0.0, 0.0]]), torch.tensor([0]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(student.grad).all()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_relational_kd(temperature):
    q, p = (np.array([softmax(row / temperature) for row in logits]) for logits in LOGITS)
    rows = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(q, p, strict=True)])
    columns = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(q.T, p.T, strict=True)])
    expected = temperature**2 * (2 * (1 - rows) + 3 * (1 - columns))
    assert call(relational_kd, *LOGITS, beta=2.0, gamma=3.0, temperature=temperature) == pytest.approx(expected, rel=1e-6)


def test_attention_transfer():
    total = []
    for student, teacher in zip(SMALL, LARGE, strict=True):
        small = np.array([pooled(channel, 2) for channel in teacher])
        a, b = ((x**2).mean(axis=0).ravel() for x in (student, small))
        total.append(((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2).mean())
    expected = pytest.approx(np.mean(total), rel=1e-10)
    assert call(attention_transfer, SMALL, LARGE) == expected
    assert call(attention_transfer, LARGE, SMALL) == expected, "whichever is larger"


def test_similarity_preserving():
    def similarities(maps):
        rows = maps.reshape(4, -1)
        gram = np.array([[a @ b for b in rows] for a in rows])
        return gram / np.linalg.norm(gram, axis=1, keepdims=True)

    expected = ((similarities(SMALL) - similarities(LARGE)) ** 2).sum() / 16
    assert call(similarity_preserving, SMALL, LARGE) == pytest.approx(expected, rel=1e-10)


def test_inter_channel_correlation():
    def correlations(maps):
        flat = maps.reshape(4, 3, -1)
        found = np.array([[[a @ b for b in sample] for a in sample] for sample in flat])
        return found / np.linalg.norm(found, axis=2, keepdims=True)

    expected = ((correlations(SMALL) - correlations(LARGE)) ** 2).sum() / (3 * 4)
    assert call(inter_channel_correlation, SMALL, LARGE) == pytest.approx(expected, rel=1e-10)


def test_upsampled_mse():
    """With aligned corners, a row of two becomes 0, 1/3, 2/3, 1 of the way."""
    way = np.linspace(0, 1, 4)
    total = []
    for small, large in zip(SMALL.reshape(-1, 2, 2), LARGE.reshape(-1, 4, 4), strict=True):
        (a, b), (c, d) = small
        up = np.array([[(1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d) for x in way] for y in way])
        total.append(((up - large) ** 2).mean())
    assert call(upsampled_mse, SMALL, LARGE) == pytest.approx(np.mean(total), rel=1e-10)


def test_hint():
    small = np.array([[pooled(channel, 2) for channel in sample] for sample in LARGE])
    assert call(hint, SMALL, LARGE) == pytest.approx(((SMALL - small) ** 2).mean(), rel=1e-10)


@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0])
def test_exit_loss(exponent):
    total = 0.0
    for student, teacher, true in zip(*LOGITS, TARGET, strict=True):
        q, p = softmax(teacher / 2), softmax(student / 2)
        weights = q**exponent
        weights[true] = (1 + q[true]) ** exponent - 1
        total -= (weights * np.log(p)).sum()
    assert call(exit_loss, *LOGITS, TARGET, exponent=exponent, temperature=2.0) == pytest.approx(total / 6, rel=1e-10)


@pytest.mark.parametrize("function", [inter_channel_correlation, upsampled_mse, hint])
def test_unequal_channels_are_refused(function):
    with pytest.raises(ShapeError, match="2 and 3 channels"):
        function(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("function", [attention_transfer, similarity_preserving, inter_channel_correlation, upsampled_mse, hint])
def test_dead_maps_give_no_infinite_gradient(function):
    student = torch.zeros(2, 3, 4, 4, requires_grad=True)
    function(student, torch.rand(2, 3, 4, 4)).backward()
    assert torch.isfinite(student.grad).all()


def test_exit_loss_of_shared_labels_is_bounded_below():
    """With smoothed or mixed labels no class has a negative weight, so that no logit can be rewarded without end."""
    target = torch.full((1, 20), 0.1 / 20)
    target[0, 3] += 0.9
    for teacher in (torch.zeros(1, 20), 9 * target):
        for sure in torch.eye(20):
            assert exit_loss(1000 * sure[None], teacher, target) >= 0


@pytest.mark.parametrize("loss", [similarity_preserving, inter_channel_correlation, attention_transfer])
def test_sums_over_a_map_do_not_overflow_in_half_precision(loss):
    one, other = (30 * torch.randn(4, 64, 28, 28, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    with torch.autocast("cpu", torch.float16):
        half = loss(one.half(), other.half())
    assert torch.isfinite(half)
    assert torch.allclose(half.float(), loss(one, other), rtol=0.02)
