"""The small model: hashed n-grams (`ngrams.py`), their summed vectors, one hidden layer, the same heads.

After Joulin et al., "Bag of Tricks for Efficient Text Classification" (EACL 2017), taught by the large
model's probabilities instead of by labels alone.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labels import HEADS

BUCKETS = 131_072
CHARS = (3, 5)
FEATURES_MAX = 512
VECTOR = 64
HIDDEN = 64
ROW_STEPS = 127


class Small(nn.Module):
    def __init__(self, buckets: int = BUCKETS) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(buckets, VECTOR, mode="sum", padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.05)
        self.bias = nn.Parameter(torch.zeros(VECTOR))
        self.hidden = nn.Linear(VECTOR, HIDDEN)
        self.heads = nn.ModuleDict({h: nn.Linear(VECTOR + HIDDEN, len(labels)) for h, labels in HEADS.items()})
        self.dropout = nn.Dropout(0.1)

    def forward(self, ids: Tensor, starts: Tensor) -> Tensor:
        """Logits of all heads side by side [rows, labels]; `ids` are the rows' features one after another."""
        lengths = torch.diff(starts, append=torch.tensor([len(ids)], device=starts.device))
        vector = self.table(ids, starts) / lengths.sqrt().unsqueeze(-1) + self.bias
        both = self.dropout(torch.cat([vector, F.relu(self.hidden(vector))], dim=-1))
        return torch.cat([self.heads[head](both) for head in HEADS], dim=-1)

    def rounded(self) -> tuple[np.ndarray, np.ndarray]:
        """The table as int8 and the scale of each of its columns."""
        table = self.table.weight.detach().numpy()
        scale = np.maximum(np.abs(table).max(axis=0), 1e-12) / ROW_STEPS
        return np.rint(table / scale).astype(np.int8), scale.astype(np.float32)
