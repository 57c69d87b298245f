"""The heads of the full model, fitted once more on the vectors of the finished encoder, which stays as it is.

A last pass over the whole student changes all heads at once; here each head has its own mix of sources and
nothing to lose but itself. Sentiment has a hidden layer, with which English and French posts can have
conventions of their own: news of a wind farm is *positive* where it is French and *neutral* where not.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labels import HEADS

# Units of a hidden layer beside what the head reads.
HIDDEN_UNITS = {"sentiment": 64, "intent": 0, "urgency": 0}
# Rows drawn of each source.
ROWS = {
    "sentiment_semeval2017_en": 46_000,
    "semeval_with_intents_en": 2_200,
    "app_reviews_minibar_en_fr": 7_800,
    "complaints_xci_en": 4_600,
    "abusive_mlma_fr": 5_700,
    "open_free_tweets_fr": 4_700,
    "free_brand_fr": 700,
    "own_support_fr": 4_800,
    "own_support_en": 7_800,
    "own_general_fr": 5_000,
    "own_valence_fr": 11_400,
}
# What the rows of each source weigh together; a head that is not named here stays as it was.
_WEIGHTS = {
    "semeval_with_intents_en": 3.0,
    "app_reviews_minibar_en_fr": 5.0,
    "complaints_xci_en": 6.0,
    "abusive_mlma_fr": 3.0,
    "open_free_tweets_fr": 6.0,
    "free_brand_fr": 0.5,
    "own_support_fr": 9.0,
    "own_support_en": 9.0,
    "own_general_fr": 3.0,
    "own_valence_fr": 3.0,
}
WEIGHTS = {
    "sentiment": _WEIGHTS
    | {"sentiment_semeval2017_en": 30.0, "app_reviews_minibar_en_fr": 3.0, "own_general_fr": 6.0, "own_valence_fr": 40.0},
    "intent": _WEIGHTS,
}
# What an English *other* weighs: chatter is most of the English rows, and not of what support accounts get.
ENGLISH_OTHER = 0.5
# The share of what the head said before in the target of an English post's sentiment.
ENGLISH_SENTIMENT_KEPT = 0.7
LABEL_SHARE = 0.95
EPOCHS = 6
BATCH = 512
RATE = 2e-3
WEIGHT_PENALTY = 1e-4
DROPPED = 0.1
HIDDEN_DROPPED = 0.2


class Head(nn.Linear):
    """A linear layer over its input and, where it has one, a hidden layer of it."""

    def __init__(self, inputs: int, labels: int, hidden: int) -> None:
        super().__init__(inputs + hidden, labels)
        self.hidden = nn.Linear(inputs, hidden) if hidden else None

    def forward(self, x: Tensor) -> Tensor:
        if self.hidden is None:
            return super().forward(F.dropout(x, DROPPED, self.training))
        x = F.dropout(x, DROPPED, self.training)
        hidden = F.dropout(F.relu(self.hidden(x)), HIDDEN_DROPPED, self.training)
        return super().forward(torch.cat([x, hidden], dim=-1))

    def unscale(self, middle: Tensor, spread: Tensor) -> None:
        """Takes the input as it is from now on, instead of less `middle` and by `spread`."""
        inputs = len(middle)
        for linear in (self, self.hidden):
            if linear is not None:
                linear.weight.data[:, :inputs] /= spread
                linear.bias.data -= linear.weight.data[:, :inputs] @ middle


def new_heads(inputs: int) -> nn.ModuleDict:
    return nn.ModuleDict({head: Head(inputs, len(labels), HIDDEN_UNITS[head]) for head, labels in HEADS.items()})


def weights_of(head: str, rows) -> np.ndarray:
    """What each row counts in the loss of `head`; nothing where its label is not settled."""
    weights = WEIGHTS[head]
    settled = [row.index(head) is not None and row.source in weights for row in rows]
    counts = {source: sum(s for row, s in zip(rows, settled) if row.source == source) for source in weights}
    out = np.array([weights[row.source] / counts[row.source] if s else 0.0 for row, s in zip(rows, settled)])
    if head == "intent":
        other = HEADS[head].index("other")
        out[[row.lang == "en" and row.index(head) == other for row in rows]] *= ENGLISH_OTHER
    return out


def targets_of(head: str, rows, before: np.ndarray) -> np.ndarray:
    """The probabilities [rows, labels] that `head` is to learn; `before` is what it gave until now."""
    labels = len(HEADS[head])
    truth = np.array([row.index(head) or 0 for row in rows])
    target = LABEL_SHARE * np.eye(labels)[truth] + (1 - LABEL_SHARE) / labels
    if head == "sentiment":
        kept = np.array([[ENGLISH_SENTIMENT_KEPT if row.lang == "en" else 0.0] for row in rows])
        target = (1 - kept) * target + kept * before
    return target


def fit(head: Head, vectors: np.ndarray, target: np.ndarray, weights: np.ndarray) -> None:
    """Fits `head`, fresh, to `target` [rows, labels] on `vectors` [rows, inputs]; rows without weight have no part."""
    chosen = weights > 0
    x = torch.from_numpy(vectors[chosen].astype(np.float32))
    target = torch.from_numpy(target[chosen].astype(np.float32))
    weights = torch.from_numpy((weights[chosen] / weights[chosen].mean()).astype(np.float32))
    middle, spread = x.mean(0), x.std(0) + 1e-6
    x = (x - middle) / spread
    optimiser = torch.optim.Adam(head.parameters(), lr=RATE)
    matrices = [p for p in head.parameters() if p.ndim == 2]
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min((step + 1) / (0.05 * steps), 1 - step / steps))
    head.train()
    for _ in range(EPOCHS):
        for some in torch.randperm(len(x)).split(BATCH):
            loss = (F.cross_entropy(head(x[some]), target[some], reduction="none") * weights[some]).mean()
            loss = loss + WEIGHT_PENALTY * sum((matrix**2).sum() for matrix in matrices)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    head.eval()
    head.unscale(middle, spread)
