"""The network in PyTorch: four layers of a BERT encoder, mean pooling, one linear layer a head."""

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from graph import ATTENTION_HEADS, HEADS, HIDDEN, POSITIONS

# Layers of the twelve that are kept. Spread evenly, because neighbouring layers of a trained encoder
# do nearly the same thing; the last one is kept for the space its output lives in.
KEPT_LAYERS = [0, 3, 7, 11]


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(HIDDEN, HIDDEN)
        self.key = nn.Linear(HIDDEN, HIDDEN)
        self.value = nn.Linear(HIDDEN, HIDDEN)
        self.joined = nn.Linear(HIDDEN, HIDDEN)
        self.joined_norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.wide = nn.Linear(HIDDEN, 4 * HIDDEN)
        self.narrow = nn.Linear(4 * HIDDEN, HIDDEN)
        self.narrow_norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """`x` is [batch, tokens, hidden]; `visible` is [batch, 1, 1, tokens], true for real tokens."""
        batch, tokens, _ = x.shape
        q, k, v = (
            f(x).view(batch, tokens, ATTENTION_HEADS, -1).transpose(1, 2) for f in (self.query, self.key, self.value)
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        seen = self.joined(seen.transpose(1, 2).reshape(batch, tokens, HIDDEN))
        x = self.joined_norm(x + self.dropout(seen))
        return self.narrow_norm(x + self.dropout(self.narrow(F.gelu(self.wide(x)))))


class Network(nn.Module):
    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.words = nn.Embedding(pieces, HIDDEN)
        self.positions = nn.Embedding(POSITIONS, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.dropout = nn.Dropout(0.1)
        self.layers = nn.ModuleList(Layer() for _ in KEPT_LAYERS)
        self.heads = nn.ModuleDict({head: nn.Linear(HIDDEN, len(labels)) for head, labels in HEADS.items()})

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Logits [batch, labels] of each head. `ids` and `mask` are int64 [batch, tokens]."""
        x = self.words(ids) + self.positions.weight[: ids.shape[1]]
        x = self.dropout(self.norm(x))
        visible = mask.bool()[:, None, None, :]
        for layer in self.layers:
            x = layer(x, visible)
        weight = mask.to(x.dtype).unsqueeze(-1)
        pooled = self.dropout((x * weight).sum(1) / weight.sum(1))
        return {head: f(pooled) for head, f in self.heads.items()}


def from_encoder(path: str, rows: list[int]) -> Network:
    """The network with the weights of the encoder file, the kept pieces' rows and fresh heads."""
    source = {k: torch.from_numpy(v.astype(np.float32)) for k, v in load_file(path).items()}
    network = Network(len(rows))
    state = network.state_dict()
    state["words.weight"] = source["embeddings.word_embeddings.weight"][rows]
    state["positions.weight"] = (
        source["embeddings.position_embeddings.weight"][:POSITIONS] + source["embeddings.token_type_embeddings.weight"][0]
    )
    names = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "joined": "attention.output.dense",
        "joined_norm": "attention.output.LayerNorm",
        "wide": "intermediate.dense",
        "narrow": "output.dense",
        "narrow_norm": "output.LayerNorm",
    }
    for kind in ("weight", "bias"):
        state[f"norm.{kind}"] = source[f"embeddings.LayerNorm.{kind}"]
        for i, layer in enumerate(KEPT_LAYERS):
            for ours, theirs in names.items():
                state[f"layers.{i}.{ours}.{kind}"] = source[f"encoder.layer.{layer}.{theirs}.{kind}"]
    network.load_state_dict(state)
    return network


def activation_ranges(network: Network, rows: list[list[int]]) -> dict[str, tuple[float, float]]:
    """Least and greatest input of each quantised product over `rows` of token ids, one at a time."""
    ranges = {}

    def watch(name: str):
        def hook(_, inputs) -> None:
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = (min(low, inputs[0].min().item()), max(high, inputs[0].max().item()))

        return hook

    hooks = [
        getattr(layer, part).register_forward_pre_hook(watch(f"layers.{i}.{part}"))
        for i, layer in enumerate(network.layers)
        for part in ("query", "joined", "wide", "narrow")
    ]
    network.eval()
    with torch.no_grad():
        for row in rows:
            network(torch.tensor([row]), torch.ones((1, len(row)), dtype=torch.long))
    for hook in hooks:
        hook.remove()
    return ranges
