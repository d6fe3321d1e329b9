"""Writes golden.safetensors with the reference program (safetensors 0.8.0, numpy 2.4.6, ml_dtypes 0.5.4)."""
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

tensors = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 8 - 1,
    "bn.num_batches_tracked": np.array(-7, np.int64),
    "half": np.array([0, -0.0, 1, -2.5, 65504, 6e-8, np.inf, -np.inf], np.float16),
    "brain": np.array([1, -3.5, 1e30], ml_dtypes.bfloat16),
    "wide": np.array([[0.1], [1e300]]),
    "mask": np.array([True, False, True]),
    "bytes": np.array([1, 2, 255], np.uint8),
    "empty": np.zeros((0, 4), np.float32),
}
save_file(tensors, "golden.safetensors", metadata={"classes": '["cat","dög"]'})
