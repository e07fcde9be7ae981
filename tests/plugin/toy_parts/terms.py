"""The loss itself."""

from torch import nn
from torch.nn.functional import cosine_similarity


class CosineTerm(nn.Module):
    """See `losses.Cosine`."""

    def __init__(self, config, student, teacher):
        super().__init__()
        self.centred = config.centred

    def forward(self, student, teacher, batch):
        """Compare the predictions."""
        pair = (student.logits, teacher.logits)
        ours, theirs = (x - x.mean(dim=1, keepdim=True) for x in pair) if self.centred else pair
        return 1 - cosine_similarity(ours, theirs).mean()
