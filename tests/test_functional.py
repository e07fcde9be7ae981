"""The losses against float64 NumPy, written from their formulas."""

import numpy as np
import pytest
import torch

from pixeldistill.functional import prediction_kd, reconstruction_l1
from pixeldistill.tasks.classification.loss import smooth_labels
from pixeldistill.tasks.classification.metrics import classification_metrics


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def reference_kd(student, teacher, target, temperature, alpha):
    cross_entropy = -np.log(softmax(student)[np.arange(len(target)), target]).mean()
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    divergence = (p * (np.log(p) - np.log(q))).sum(1).mean()
    return (1 - alpha) * cross_entropy + alpha * temperature**2 * divergence


@pytest.mark.parametrize(("temperature", "alpha"), [(4.0, 0.9), (1.0, 0.5), (2.5, 1.0), (4.0, 0.0)])
def test_prediction_kd_equals_numpy(temperature, alpha):
    rng = np.random.default_rng(1)
    student, teacher, target = rng.normal(0, 3, (5, 7)), rng.normal(0, 3, (5, 7)), rng.integers(0, 7, 5)
    got = prediction_kd(*map(torch.tensor, (student, teacher, target)), temperature=temperature, alpha=alpha)
    assert got.item() == pytest.approx(reference_kd(student, teacher, target, temperature, alpha), rel=1e-12)


def test_prediction_kd_by_hand():
    """Student uniform over two classes, teacher (T ln 3, 0): KL(3/4, 1/4 ‖ 1/2, 1/2) = ln 2 − H(1/4)."""
    student, teacher = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[4 * np.log(3), 0.0]], dtype=torch.float64)
    divergence = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    expected = 0.1 * np.log(2) + 0.9 * 16 * divergence
    assert prediction_kd(student, teacher, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-12)


def test_standardised_logits_have_lost_their_scale():
    """The teacher's part is that of logits of deviation 1, whatever the scale and the offset; the labels' part is as ever."""
    rng = np.random.default_rng(4)
    student, teacher, target = rng.normal(0, 3, (5, 7)), rng.normal(0, 3, (5, 7)), rng.integers(0, 7, 5)

    def loss(x, y, **settings):
        return prediction_kd(*map(torch.tensor, (x, y, target)), temperature=2, **settings).item()

    ours, theirs = ((x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) for x in (student, teacher))
    expected = 0.9 * reference_kd(ours, theirs, target, 2, 1) + 0.1 * reference_kd(student, teacher, target, 2, 0)
    assert loss(student, teacher, standardised=True) == pytest.approx(expected, rel=1e-5)
    assert loss(student, 9 * teacher + 4, standardised=True) == pytest.approx(expected, rel=1e-5)
    assert loss(student, 9 * teacher + 4) != pytest.approx(loss(student, teacher), rel=0.1)


def test_prediction_kd_takes_probabilities_as_target():
    logits, teacher, target = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    soft = torch.nn.functional.one_hot(target, 3).float()
    assert prediction_kd(logits, teacher, soft).item() == pytest.approx(prediction_kd(logits, teacher, target).item(), rel=1e-6)


def test_label_smoothing_equals_torchs():
    logits, target = torch.randn(6, 5), torch.randint(0, 5, (6,))
    ours = torch.nn.functional.cross_entropy(logits, smooth_labels(target, 5, 0.1))
    assert ours.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, target, label_smoothing=0.1).item(), rel=1e-6)


def test_reconstruction_is_measured_in_imagenet_deviations():
    rng = np.random.default_rng(2)
    image, rebuilt = rng.random((2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = np.abs(rebuilt - (image - mean[:, None, None]) / std[:, None, None]).mean()
    assert reconstruction_l1(torch.tensor(rebuilt), torch.tensor(image)).item() == pytest.approx(expected, rel=1e-12)


def test_metrics_equal_numpy():
    rng = np.random.default_rng(3)
    logits, target = rng.normal(size=(200, 7)) * 2, rng.integers(0, 6, 200)  # class 6 has no image
    p = softmax(logits)
    order = np.argsort(-p, 1)
    confidence, right = p.max(1), order[:, 0] == target
    bins = np.clip(np.ceil(confidence * 15).astype(int) - 1, 0, 14)
    gaps = [abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
    got = classification_metrics(torch.tensor(logits), torch.tensor(target))
    assert got["top1"] == pytest.approx(right.mean())
    assert got["top5"] == pytest.approx((order[:, :5] == target[:, None]).any(1).mean())
    assert got["nll"] == pytest.approx(-np.log(p[np.arange(200), target]).mean(), rel=1e-5)
    assert got["calibration_error"] == pytest.approx(sum(gaps), rel=1e-4)
    assert got["per_class"][:6] == pytest.approx([right[target == c].mean() for c in range(6)])
    assert got["per_class"][6] is None
