"""The networks in PyTorch: a BERT encoder of a given shape, mean pooling, one head for each set of labels.

Teacher and student are the same code with other shapes. A student has fewer layers, narrower ones, and
halves the token axis on its way: after such a layer two neighbours become their mean, so that the layers
behind it cost half as much. It is the idea of Dai et al., "Funnel-Transformer" (NeurIPS 2020), with the
mean of the pair as the whole of the pooling.
"""

from dataclasses import dataclass

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import heads
from labels import HEADS

HIDDEN = 384
ATTENTION_HEADS = 12
POSITIONS = 128
# Levels of an int8 weight on either side of zero: 7 of the 8 bits, see `graph.py`.
WEIGHT_STEPS = 63
ROW_STEPS = 127
# The layer that the finished heads read beside the last. A linear layer on both has 61.7 on UMSAB, fr by
# cross-validation, on the last alone 59.4.
MIDDLE = -3


@dataclass(frozen=True)
class LayerShape:
    """One layer: which of the encoder's twelve it starts from, its feed-forward width, what follows."""

    start: int
    wide: int = 4 * HIDDEN
    halve: bool = False


TEACHER = tuple(LayerShape(i) for i in range(12))


def shape_of(text: str) -> tuple[LayerShape, ...]:
    """A shape as written in arguments: `0:1024h,3:1024,7:1024,11:1024` (start, width, `h` to halve)."""
    layers = []
    for part in text.split(","):
        start, wide = part.removesuffix("h").split(":")
        layers.append(LayerShape(int(start), int(wide), part.endswith("h")))
    return tuple(layers)


class Linear(nn.Linear):
    """A linear layer that can compute as the int8 graph will, with gradients as if it did not.

    Straight-through rounding after Jacob et al., "Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference" (CVPR 2018). `low` and `high` are the range of its input.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.rounded = False
        self.watched: list[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.watched is not None:
            seen = x.detach().float().flatten()
            self.watched.append(seen[torch.randint(len(seen), (20_000,), device=x.device)])
        if not self.rounded:
            return super().forward(x)
        step = (self.high - self.low) / 255
        zero = torch.round(-self.low / step)
        cut = torch.clamp(x.float(), -zero * step, (255 - zero) * step)
        x = cut + (torch.round(cut / step) * step - cut).detach()
        scale = self.weight.detach().abs().amax(1, keepdim=True).clamp(min=1e-12) / WEIGHT_STEPS
        weight = self.weight + (torch.round(self.weight / scale) * scale - self.weight).detach()
        return F.linear(x, weight, self.bias)


class Layer(nn.Module):
    def __init__(self, shape: LayerShape, dropout: float) -> None:
        super().__init__()
        self.halve = shape.halve
        self.query = Linear(HIDDEN, HIDDEN)
        self.key = Linear(HIDDEN, HIDDEN)
        self.value = Linear(HIDDEN, HIDDEN)
        self.joined = Linear(HIDDEN, HIDDEN)
        self.joined_norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.wide = Linear(HIDDEN, shape.wide)
        self.narrow = Linear(shape.wide, HIDDEN)
        self.narrow_norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """`x` is [batch, tokens, hidden]; `mask` is [batch, tokens], 1 for real tokens."""
        batch, tokens, _ = x.shape
        q, k, v = (
            f(x).view(batch, tokens, ATTENTION_HEADS, -1).transpose(1, 2) for f in (self.query, self.key, self.value)
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.bool()[:, None, None, :])
        seen = self.joined(seen.transpose(1, 2).reshape(batch, tokens, HIDDEN))
        x = self.joined_norm(x + self.dropout(seen))
        x = self.narrow_norm(x + self.dropout(self.narrow(F.gelu(self.wide(x)))))
        if self.halve:
            first, second = mask[:, 0::2], mask[:, 1::2]
            both = first + second
            share = 1 / both.clamp(min=1)
            x = x[:, 0::2] * (first * share).unsqueeze(-1) + x[:, 1::2] * (second * share).unsqueeze(-1)
            mask = both.clamp(max=1)
        return x, mask


class Network(nn.Module):
    def __init__(self, pieces: int, shape: tuple[LayerShape, ...], dropout: float = 0.1) -> None:
        super().__init__()
        self.shape = shape
        self.finished = False
        self.words = nn.Embedding(pieces, HIDDEN)
        self.positions = nn.Embedding(POSITIONS, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(s, dropout) for s in shape)
        self.heads = nn.ModuleDict({head: nn.Linear(HIDDEN, len(labels)) for head, labels in HEADS.items()})

    def means(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """The mean over the tokens behind each layer [batch, hidden].

        `ids`, `mask` are [batch, tokens], tokens a multiple of 4.
        """
        x = self.words(ids) + self.positions.weight[: ids.shape[1]]
        x = self.dropout(self.norm(x))
        mask = mask.to(x.dtype)
        means = []
        for layer in self.layers:
            x, mask = layer(x, mask)
            weight = (mask / mask.sum(1, keepdim=True)).unsqueeze(-1)
            means.append((x * weight).sum(1).float())
        return means

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of all heads side by side [batch, labels], and the vector they read [batch, width]."""
        means = self.means(ids, mask)
        vector = torch.cat([means[-1], means[MIDDLE]], dim=-1) if self.finished else means[-1]
        dropped = self.dropout(vector)
        return torch.cat([self.heads[head](dropped) for head in HEADS], dim=-1), vector

    @property
    def width(self) -> int:
        """Length of the vector that the heads read."""
        return 2 * HIDDEN if self.finished else HIDDEN

    def finish(self) -> None:
        """Takes the heads of `heads.py` in the place of its own; they say the same until they are fitted."""
        self.finished = True
        before, self.heads = self.heads, heads.new_heads(self.width)
        for name, head in self.heads.items():
            head.weight.data.zero_()
            head.weight.data[:, :HIDDEN] = before[name].weight.data
            head.bias.data = before[name].bias.data

    def linears(self) -> dict[str, Linear]:
        return {name: module for name, module in self.named_modules() if isinstance(module, Linear)}

    def round(self, rounded: bool) -> None:
        """Whether to compute in int8, with the ranges that are set."""
        for linear in self.linears().values():
            linear.rounded = rounded

    def round_from_now(self, watch) -> None:
        """Sets the input ranges from what `watch()` runs through the network, then computes in int8.

        The range leaves out the outermost 1 in 100,000 values on either side: one outlier would cost all
        others their precision.
        """
        linears = self.linears()
        for linear in linears.values():
            linear.watched = []
        was_training = self.training
        self.eval()
        with torch.no_grad():
            watch()
        self.train(was_training)
        for linear in linears.values():
            seen = torch.cat(linear.watched).sort().values
            cut = int(len(seen) * 1e-5)
            linear.low.copy_(seen[cut].clamp(max=-1e-3))
            linear.high.copy_(seen[-1 - cut].clamp(min=1e-3))
            linear.watched = None
            linear.rounded = True
        # Queries, keys and values are one product in the graph, with one range.
        for layer in self.layers:
            for other in (layer.key, layer.value):
                other.low.copy_(layer.query.low)
                other.high.copy_(layer.query.high)


def rounded_rows(table: Tensor) -> Tensor:
    """The embedding table as the int8 graph has it: one scale a row."""
    scale = table.abs().amax(1, keepdim=True).clamp(min=1e-12) / ROW_STEPS
    return torch.round(table / scale) * scale


def from_encoder(path: str, rows: list[int], dropout: float = 0.1) -> Network:
    """All twelve layers with the weights of the encoder file, the kept pieces' rows and fresh heads."""
    source = {k: torch.from_numpy(v.astype(np.float32)) for k, v in load_file(path).items()}
    network = Network(len(rows), TEACHER, dropout)
    state = network.state_dict()
    state["words.weight"] = rounded_rows(source["embeddings.word_embeddings.weight"][rows])
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
        for i in range(12):
            for ours, theirs in names.items():
                state[f"layers.{i}.{ours}.{kind}"] = source[f"encoder.layer.{i}.{theirs}.{kind}"]
    network.load_state_dict(state)
    return network


def student_of(teacher: Network, shape: tuple[LayerShape, ...], batches, dropout: float = 0.0) -> Network:
    """A smaller network that starts from the layers of `teacher` that `shape` names.

    Where a layer becomes narrower, the feed-forward units are kept that matter most: by the mean size of
    what they contribute, |activation| times the norm of their outgoing weights, over `batches`.
    """
    weight_of = {i: torch.zeros(4 * HIDDEN) for i in range(12)}
    hooks = []
    for i, layer in enumerate(teacher.layers):

        def watch(_, inputs, i=i) -> None:
            weight_of[i] += inputs[0].detach().float().abs().mean((0, 1)).cpu()

        hooks.append(layer.narrow.register_forward_pre_hook(watch))
    teacher.eval()
    with torch.no_grad():
        for ids, mask in batches:
            teacher(ids, mask)
    for hook in hooks:
        hook.remove()

    theirs = {k: v.cpu() for k, v in teacher.state_dict().items()}
    student = Network(teacher.words.num_embeddings, shape, dropout)
    state = student.state_dict()
    for name in state:
        if not name.startswith("layers."):
            state[name] = theirs[name]
    for i, layer in enumerate(shape):
        old = f"layers.{layer.start}."
        outgoing = theirs[old + "narrow.weight"].norm(dim=0)
        kept = (weight_of[layer.start] * outgoing).topk(layer.wide).indices.sort().values
        for name in [n for n in state if n.startswith(f"layers.{i}.") and not n.endswith((".low", ".high"))]:
            value = theirs[old + name.removeprefix(f"layers.{i}.")]
            if ".wide." in name:
                value = value[kept]
            elif name.endswith("narrow.weight"):
                value = value[:, kept]
            state[name] = value
    student.load_state_dict(state)
    return student
