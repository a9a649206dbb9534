"""The structures that decode.cpp reads, field by field; addresses are of memory that Python keeps."""

from ctypes import POINTER, Structure, c_float, c_int32, c_void_p


class Linear(Structure):
    """Packed weights of one product; outputs and inputs are padded."""

    _fields_ = [(name, c_void_p) for name in ("weight", "scale", "offset", "bias")] + [("outputs", c_int32), ("inputs", c_int32)]


class Layer(Structure):
    """One block, with its keys and values of all rows."""

    _fields_ = (
        [(name, Linear) for name in ("qkv", "out", "up", "down")]
        + [
            (name, c_void_p)
            for name in (
                "attention_norm", "attention_norm_bias", "mlp_norm", "mlp_norm_bias", "attention_post_norm", "mlp_post_norm",
                "query_norm", "key_norm", "cosine", "sine", "keys", "values",
            )
        ]
        + [("rotated", c_int32), ("window", c_int32), ("added", c_int32)]
        + [("stream_scale", c_float), ("embed_scale", c_float)]
    )  # fmt: skip


class Model(Structure):
    """A whole decoder; flags are 0 or 1, a cap of 0 is none."""

    _fields_ = (
        [("layers", POINTER(Layer)), ("head", Linear), ("final_norm", c_void_p), ("final_norm_bias", c_void_p)]
        + [
            (name, c_int32)
            for name in (
                "num_layers", "width", "heads", "kv_heads", "head_dim", "inner", "vocab", "capacity", "precision", "half_cache",
                "centred_norm", "activation", "gated", "parallel", "whole_qk_norm", "most_tokens",
            )
        ]
        + [(name, c_float) for name in ("eps", "query_scale", "attention_cap", "final_cap")]
    )  # fmt: skip


class Tokens(Structure):
    """What one step reads, and where its logits go."""

    _fields_ = [
        ("x", c_void_p), ("added", c_void_p), ("row", c_void_p), ("position", c_void_p), ("count", c_int32),
        ("wanted", c_void_p), ("num_wanted", c_int32), ("logits", c_void_p),
    ]  # fmt: skip
