"""Writes the trained network as an ONNX graph of plain operators with int8 weights.

The graph is written node by node instead of traced from PyTorch: it then holds exactly the operators
named here, none of which is new or rare, and both ONNX Runtime and rten load it.

- Every large product is `QuantizeLinear` (activations to uint8) then `MatMulInteger` with int8 weights,
  one scale per output column, then `Cast` and `Mul`.
- The scale of the activations is a constant, taken from the range seen on training texts. With
  `DynamicQuantizeLinear` the scale comes from the whole batch, and the same post got probabilities up
  to 0.17 apart alone and among others; with constants they agree to 1e-6, at the same accuracy.
- Weights use 7 of the 8 bits: without it the uint8 times int8 products of x86-64 processors that lack
  VNNI saturate at 16 bits, and the same file gives other answers there.
- The word embedding table is int8 with one scale a row: two `Gather`, `Cast`, `Mul`.
- The temperature of each head is a constant division in front of its `Softmax`.
"""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
EPSILON = 1e-12
HIDDEN = 384
ATTENTION_HEADS = 12
HEAD_WIDTH = HIDDEN // ATTENTION_HEADS
POSITIONS = 128
MASKED = -10_000.0
WEIGHT_STEPS = 63
ROW_STEPS = 127

HEADS = {
    "sentiment": ["negative", "neutral", "positive"],
    "intent": ["churn", "problem", "help", "feature", "question", "complaint", "praise", "other"],
    "urgency": ["low", "normal", "high"],
}


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

    def quantised(self, name: str, x: str, low: float, high: float):
        """The activations `x` as uint8, their scale and their zero point; beyond `low`..`high` they are cut."""
        step = (high - low) / 255
        scale = self.constant(name + ".step", np.float32(step))
        zero = self.constant(name + ".zero", np.uint8(round(-low / step)))
        return self.node("QuantizeLinear", x, scale, zero), scale, zero

    def linear(self, name: str, quantised, weight: np.ndarray, bias: np.ndarray) -> str:
        """`x @ weight + bias`; `weight` is float32 [inputs, outputs]."""
        x, x_scale, x_zero = quantised
        scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / WEIGHT_STEPS
        levels = np.rint(weight / scale).astype(np.int8)
        product = self.node(
            "MatMulInteger", x, self.constant(name + ".weight", levels), x_zero, name=name
        )
        product = self.node("Cast", product, to=TensorProto.FLOAT)
        both = self.node("Mul", x_scale, self.constant(name + ".scale", scale.astype(np.float32)))
        product = self.node("Mul", product, both)
        return self.node("Add", product, self.constant(name + ".bias", bias.astype(np.float32)))

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


def build(
    weights: dict[str, np.ndarray],
    temperatures: dict[str, float],
    layers: int,
    ranges: dict[str, tuple[float, float]],
) -> onnx.ModelProto:
    """The bundle's graph from float32 arrays named as in `network.Network.state_dict()`.

    `ranges` gives the least and greatest input of each quantised product, zero between them.
    """
    weights = {k: np.asarray(v, dtype=np.float32) for k, v in weights.items()}
    g = _Graph()
    ints = lambda *v: np.array(v, dtype=np.int64)

    # Embeddings: word row times its scale, plus position. Token type 0 was added to the positions.
    table = weights["words.weight"]
    row_scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12) / ROW_STEPS
    words = g.node("Gather", g.constant("words.weight", np.rint(table / row_scale).astype(np.int8)), "input_ids", axis=0)
    words = g.node("Cast", words, to=TensorProto.FLOAT)
    scales = g.node("Gather", g.constant("words.scale", row_scale.astype(np.float32)), "input_ids", axis=0)
    words = g.node("Mul", words, scales)
    shape = g.node("Shape", "input_ids")
    tokens = g.node("Gather", shape, g.constant("one", ints(1)), axis=0)
    positions = g.node(
        "Slice",
        g.constant("positions.weight", weights["positions.weight"][:POSITIONS]),
        g.constant("zero", ints(0)),
        tokens,
        g.constant("zero_axis", ints(0)),
    )
    x = g.layer_norm("norm", g.node("Add", words, positions), weights)

    # The mask as float [batch,tokens,1] for pooling and as a term of the attention scores.
    mask = g.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask_tokens = g.node("Unsqueeze", mask, g.constant("last_axis", ints(2)))
    absent = g.node("Sub", g.constant("real", np.float32(1.0)), mask)
    absent = g.node("Mul", absent, g.constant("masked", np.float32(MASKED)))
    mask_scores = g.node("Unsqueeze", absent, g.constant("score_axes", ints(1, 2)))

    per_head = g.constant("per_head", ints(0, 0, ATTENTION_HEADS, HEAD_WIDTH))
    joined = g.constant("joined", ints(0, 0, HIDDEN))
    thirds = g.constant("thirds", ints(HIDDEN, HIDDEN, HIDDEN))
    for i in range(layers):
        p = f"layers.{i}."
        scale = 1.0 / math.sqrt(HEAD_WIDTH)
        # Queries, keys and values are one product; the score scale is folded into the queries.
        qkv_weight = np.concatenate(
            [weights[p + "query.weight"].T * scale, weights[p + "key.weight"].T, weights[p + "value.weight"].T], axis=1
        )
        qkv_bias = np.concatenate([weights[p + "query.bias"] * scale, weights[p + "key.bias"], weights[p + "value.bias"]])
        qkv = g.linear(p + "qkv", g.quantised(p + "query", x, *ranges[p + "query"]), qkv_weight, qkv_bias)
        q, k, v = g.node("Split", qkv, thirds, outputs=3, axis=-1)
        q = g.node("Transpose", g.node("Reshape", q, per_head), perm=[0, 2, 1, 3])
        k = g.node("Transpose", g.node("Reshape", k, per_head), perm=[0, 2, 3, 1])
        v = g.node("Transpose", g.node("Reshape", v, per_head), perm=[0, 2, 1, 3])
        scores = g.node("Add", g.node("MatMul", q, k), mask_scores)
        seen = g.node("MatMul", g.node("Softmax", scores, axis=-1), v)
        seen = g.node("Reshape", g.node("Transpose", seen, perm=[0, 2, 1, 3]), joined)
        seen = g.linear(p + "joined", g.quantised(p + "joined", seen, *ranges[p + "joined"]), weights[p + "joined.weight"].T, weights[p + "joined.bias"])
        x = g.layer_norm(p + "joined_norm", g.node("Add", x, seen), weights)
        wide = g.linear(p + "wide", g.quantised(p + "wide", x, *ranges[p + "wide"]), weights[p + "wide.weight"].T, weights[p + "wide.bias"])
        # Gelu by its definition, x * 0.5 * (1 + erf(x / sqrt 2)); both runtimes fuse these nodes.
        error = g.node("Erf", g.node("Div", wide, g.constant("sqrt2", np.float32(math.sqrt(2.0)))))
        wide = g.node("Mul", wide, g.node("Add", error, g.constant("gelu_one", np.float32(1.0))))
        wide = g.node("Mul", wide, g.constant("half", np.float32(0.5)))
        narrow = g.linear(p + "narrow", g.quantised(p + "narrow", wide, *ranges[p + "narrow"]), weights[p + "narrow.weight"].T, weights[p + "narrow.bias"])
        x = g.layer_norm(p + "narrow_norm", g.node("Add", x, narrow), weights)

    # Mean over the real tokens; there are always at least two, <s> and </s>.
    total = g.node("ReduceSum", g.node("Mul", x, mask_tokens), g.constant("token_axis", ints(1)), keepdims=0)
    count = g.node("ReduceSum", mask, g.constant("token_axis", ints(1)), keepdims=1)
    pooled = g.node("Div", total, count)
    for head in HEADS:
        logits = g.node("MatMul", pooled, g.constant(head + ".weight", weights[f"heads.{head}.weight"].T))
        logits = g.node("Add", logits, g.constant(head + ".bias", weights[f"heads.{head}.bias"]))
        logits = g.node("Div", logits, g.constant(head + ".temperature", np.float32(temperatures[head])))
        g.nodes.append(helper.make_node("Softmax", [logits], [head], name=head + "_node", axis=-1))

    ids = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "tokens"]) for n in ("input_ids", "attention_mask")]
    outs = [helper.make_tensor_value_info(h, TensorProto.FLOAT, ["batch", len(labels)]) for h, labels in HEADS.items()]
    graph = helper.make_graph(g.nodes, "vigie", ids, outs, list(g.constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="vigie")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model
