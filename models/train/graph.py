"""Writes the trained networks as ONNX graphs of plain operators with int8 weights.

The graphs are written node by node instead of traced from PyTorch: they then hold exactly the operators
named here, none of which is new or rare, and both ONNX Runtime and rten load them.

- Every large product is `QuantizeLinear` (activations to uint8) then `MatMulInteger` with int8 weights,
  one scale per output column, then `Cast` and `Mul`.
- The scale of the activations is a constant, taken from the range seen on training texts. With
  `DynamicQuantizeLinear` the scale comes from the whole batch, and the same post got probabilities up
  to 0.17 apart alone and among others; with constants they agree to 1e-6, at the same accuracy.
- Weights use 7 of the 8 bits: without it the uint8 times int8 products of x86-64 processors that lack
  VNNI saturate at 16 bits, and the same file gives other answers there.
- `Cast` and `Mul` are written so that both runtimes make one operation of them and the product. ONNX
  Runtime wants the scale to be a product that it cannot fold, hence the factor one that is computed from
  the mask: 574 -> 629 posts/s on four layers of full width. rten wants a vector.
- Sums over the token axis are written as products with the mask, because rten's `ReduceSum` over an
  inner axis took 14 % of the time.
- The word embedding table is int8 with one scale a row: two `Gather`, `Cast`, `Mul`.
- The calibration of each head is part of its weights.
"""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from labels import HEADS
from network import ATTENTION_HEADS, HIDDEN, MIDDLE, POSITIONS, ROW_STEPS, WEIGHT_STEPS, LayerShape

OPSET = 17
EPSILON = 1e-12
HEAD_WIDTH = HIDDEN // ATTENTION_HEADS
MASKED = 10_000.0


def _ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


class _Graph:
    def __init__(self) -> None:
        self.nodes = []
        self.constants = {}
        self.names = 0

    def constant(self, name: str, value: np.ndarray) -> str:
        if name not in self.constants:
            # Not `ascontiguousarray`, which makes one row of a scalar: rten takes scalar zero points only.
            self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def node(self, op: str, *inputs: str, outputs: int = 1, name: str = "", **attributes):
        self.names += 1
        outs = [f"{name or op.lower()}_{self.names}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), outs, name=outs[0] + "_node", **attributes))
        return outs[0] if outputs == 1 else outs

    def float_of(self, x: str) -> str:
        return self.node("Cast", x, to=TensorProto.FLOAT)

    def unsqueeze(self, x: str, *axes: int) -> str:
        return self.node("Unsqueeze", x, self.constant("axes_" + "_".join(map(str, axes)), _ints(*axes)))

    def layer_norm(self, name: str, x: str, weights: dict) -> str:
        return self.node(
            "LayerNormalization",
            x,
            self.constant(name + ".weight", weights[name + ".weight"]),
            self.constant(name + ".bias", weights[name + ".bias"]),
            axis=-1,
            epsilon=EPSILON,
            name=name,
        )

    def hidden(self, name: str, x: str, weights: dict) -> str:
        x = self.node("MatMul", x, self.constant(name + ".weight", weights[name + ".weight"].T))
        return self.node("Relu", self.node("Add", x, self.constant(name + ".bias", weights[name + ".bias"])))

    def heads(self, x: str, weights: dict, calibration: dict) -> None:
        """The outputs: softmax over each head's calibrated logits."""
        for head in HEADS:
            factor, shift = calibration[head]
            weight = weights[f"heads.{head}.weight"].T * np.float32(factor)
            bias = weights[f"heads.{head}.bias"] * np.float32(factor) + np.asarray(shift, dtype=np.float32)
            hidden = f"heads.{head}.hidden"
            read = self.node("Concat", x, self.hidden(hidden, x, weights), axis=-1) if hidden + ".weight" in weights else x
            logits = self.node("MatMul", read, self.constant(head + ".weight", weight))
            logits = self.node("Add", logits, self.constant(head + ".bias", bias))
            self.nodes.append(helper.make_node("Softmax", [logits], [head], name=head + "_node", axis=-1))

    def model(self) -> onnx.ModelProto:
        names = ("input_ids", "attention_mask")
        ids = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "tokens"]) for n in names]
        outs = [helper.make_tensor_value_info(h, TensorProto.FLOAT, ["batch", len(l)]) for h, l in HEADS.items()]
        graph = helper.make_graph(self.nodes, "vigie", ids, outs, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="vigie")
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model


class _Encoder(_Graph):
    def __init__(self, weights: dict, rounded: bool) -> None:
        super().__init__()
        self.weights = weights
        self.rounded = rounded

    def linear(self, name: str, x: str, parts: list[tuple[str, float]]) -> str:
        """`x @ weight + bias` with the columns of several layers side by side, each times its factor.

        All `parts` have the same input, and so the same range.
        """
        w = self.weights
        weight = np.concatenate([w[p + ".weight"].T * np.float32(f) for p, f in parts], axis=1)
        bias = np.concatenate([w[p + ".bias"] * np.float32(f) for p, f in parts])
        if not self.rounded:
            product = self.node("MatMul", x, self.constant(name + ".weight", weight))
            return self.node("Add", product, self.constant(name + ".bias", bias))
        low, high = float(w[parts[0][0] + ".low"]), float(w[parts[0][0] + ".high"])
        step = (high - low) / 255
        x_scale = self.constant(name + ".step", np.float32(step))
        x_zero = self.constant(name + ".zero", np.uint8(round(-low / step)))
        scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / WEIGHT_STEPS
        levels = np.rint(weight / scale).astype(np.int8)
        x = self.node("QuantizeLinear", x, x_scale, x_zero)
        product = self.node("MatMulInteger", x, self.constant(name + ".weight", levels), x_zero, name=name)
        scale = self.constant(name + ".scale", scale.astype(np.float32))
        scale = self.node("Mul", self.node("Mul", self.one, x_scale), scale)
        product = self.node("Mul", self.float_of(product), scale)
        return self.node("Add", product, self.constant(name + ".bias", bias))

    def mask_of(self, mask: str) -> str:
        """What is added to the attention scores: zero for real tokens, a large negative number for others."""
        absent = self.node("Sub", mask, self.constant("real", np.float32(1.0)))
        return self.unsqueeze(self.node("Mul", absent, self.constant("masked", np.float32(MASKED))), 1, 2)

    def attention(self, p: str, x: str, mask: str) -> str:
        scale = 1.0 / math.sqrt(HEAD_WIDTH)
        # Queries, keys and values are one product; the score scale is folded into the queries.
        qkv = self.linear(p + "qkv", x, [(p + "query", scale), (p + "key", 1.0), (p + "value", 1.0)])
        thirds = self.constant("thirds", _ints(HIDDEN, HIDDEN, HIDDEN))
        per_head = self.constant("per_head", _ints(0, 0, ATTENTION_HEADS, HEAD_WIDTH))
        q, k, v = (self.node("Reshape", part, per_head) for part in self.node("Split", qkv, thirds, outputs=3, axis=-1))
        q = self.node("Transpose", q, perm=[0, 2, 1, 3])
        k = self.node("Transpose", k, perm=[0, 2, 3, 1])
        v = self.node("Transpose", v, perm=[0, 2, 1, 3])
        scores = self.node("Add", self.node("MatMul", q, k), mask)
        seen = self.node("MatMul", self.node("Softmax", scores, axis=-1), v)
        seen = self.node("Transpose", seen, perm=[0, 2, 1, 3])
        seen = self.node("Reshape", seen, self.constant("joined", _ints(0, 0, HIDDEN)))
        return self.linear(p + "joined", seen, [(p + "joined", 1.0)])

    def feed_forward(self, p: str, x: str) -> str:
        wide = self.linear(p + "wide", x, [(p + "wide", 1.0)])
        # Gelu by its definition, x * 0.5 * (1 + erf(x / sqrt 2)); both runtimes fuse these nodes.
        error = self.node("Erf", self.node("Div", wide, self.constant("sqrt2", np.float32(math.sqrt(2.0)))))
        wide = self.node("Mul", wide, self.node("Add", error, self.constant("gelu_one", np.float32(1.0))))
        wide = self.node("Mul", wide, self.constant("half", np.float32(0.5)))
        return self.linear(p + "narrow", wide, [(p + "narrow", 1.0)])

    def halved(self, x: str, mask: str) -> tuple[str, str]:
        """Each pair of neighbours as the mean of those that are real; half as many tokens."""
        pairs = self.node("Reshape", x, self.constant("pairs", _ints(0, -1, 2 * HIDDEN)))
        widths = self.constant("pair_widths", _ints(HIDDEN, HIDDEN))
        first, second = self.node("Split", pairs, widths, outputs=2, axis=-1)
        masks = self.node("Reshape", mask, self.constant("mask_pairs", _ints(0, -1, 2)))
        widths = self.constant("mask_widths", _ints(1, 1))
        real_first, real_second = self.node("Split", masks, widths, outputs=2, axis=-1)
        both = self.node("Add", real_first, real_second)
        one = self.constant("real", np.float32(1.0))
        count = self.node("Max", both, one)
        first = self.node("Mul", first, self.node("Div", real_first, count))
        second = self.node("Mul", second, self.node("Div", real_second, count))
        mask = self.node("Squeeze", self.node("Min", both, one), self.constant("axes_2", _ints(2)))
        return self.node("Add", first, second), mask

    def mean(self, x: str, mask: str) -> str:
        """Mean over the real tokens, as a product; there is always at least one."""
        count = self.node("ReduceSum", mask, self.constant("axes_1", _ints(1)), keepdims=1)
        share = self.unsqueeze(self.node("Div", mask, count), 1)
        return self.node("Reshape", self.node("MatMul", share, x), self.constant("rows", _ints(-1, HIDDEN)))

    def build(self, shape: tuple[LayerShape, ...], calibration: dict) -> onnx.ModelProto:
        w = self.weights
        table = w["words.weight"]
        row_scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12) / ROW_STEPS
        levels = self.constant("words.weight", np.rint(table / row_scale).astype(np.int8))
        words = self.float_of(self.node("Gather", levels, "input_ids", axis=0))
        scales = self.constant("words.scale", row_scale.astype(np.float32))
        words = self.node("Mul", words, self.node("Gather", scales, "input_ids", axis=0))
        tokens = self.node("Gather", self.node("Shape", "input_ids"), self.constant("one", _ints(1)), axis=0)
        positions = self.node(
            "Slice",
            self.constant("positions.weight", w["positions.weight"][:POSITIONS]),
            self.constant("zero", _ints(0)),
            tokens,
            self.constant("zero_axis", _ints(0)),
        )
        x = self.layer_norm("norm", self.node("Add", words, positions), w)
        mask = self.float_of("attention_mask")
        self.one = self.node("ReduceMax", mask, keepdims=0)
        scores = self.mask_of(mask)
        for i, layer in enumerate(shape):
            p = f"layers.{i}."
            x = self.layer_norm(p + "joined_norm", self.node("Add", x, self.attention(p, x, scores)), w)
            x = self.layer_norm(p + "narrow_norm", self.node("Add", x, self.feed_forward(p, x)), w)
            if layer.halve:
                x, mask = self.halved(x, mask)
                scores = self.mask_of(mask)
            if i == len(shape) + MIDDLE:
                middle = self.mean(x, mask)
        self.heads(self.node("Concat", self.mean(x, mask), middle, axis=-1), w, calibration)
        return self.model()


def build(
    weights: dict[str, np.ndarray],
    shape: tuple[LayerShape, ...],
    calibration: dict[str, tuple[float, list[float]]],
    rounded: bool = True,
) -> onnx.ModelProto:
    """The graph of a finished `network.Network` from its state as arrays, in int8 or (not `rounded`) in float32.

    `calibration` gives for each head the factor of its logits and what is added to them.
    """
    weights = {k: np.asarray(v, dtype=np.float32) for k, v in weights.items()}
    return _Encoder(weights, rounded).build(shape, calibration)


def build_small(
    table: np.ndarray, scale: np.ndarray, weights: dict[str, np.ndarray], calibration: dict
) -> onnx.ModelProto:
    """The graph of a `small.Small`: its table as int8 [buckets, vector] with a scale a column."""
    w = {k: np.asarray(v, dtype=np.float32) for k, v in weights.items()}
    g = _Graph()
    vectors = g.float_of(g.node("Gather", g.constant("table", table), "input_ids", axis=0))
    mask = g.float_of("attention_mask")
    count = g.node("ReduceSum", mask, g.constant("axes_1", _ints(1)), keepdims=1)
    share = g.unsqueeze(g.node("Div", mask, g.node("Sqrt", count)), 1)
    summed = g.node("Reshape", g.node("MatMul", share, vectors), g.constant("rows", _ints(-1, len(scale))))
    vector = g.node("Mul", summed, g.constant("scale", scale))
    vector = g.node("Add", vector, g.constant("bias", w["bias"]))
    g.heads(g.node("Concat", vector, g.hidden("hidden", vector, w), axis=-1), w, calibration)
    return g.model()
