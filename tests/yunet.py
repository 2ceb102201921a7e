"""A network with YuNet's inputs and outputs that takes red squares for faces, so that OpenCV's own code can run."""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
CELL = 32
"""A red square of this side, on a multiple of it, is a face; its score is how red it is, from 0 to 1."""
FACE = 160
"""Width and height that every face is said to have."""


def save(path):
    """Write the model to a .onnx file."""
    nodes, weights, outputs = [], [], []
    for stride in STRIDES:
        for name, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            kernel, bias = np.zeros((channels, 3, stride, stride)), np.zeros(channels)
            if stride == CELL and channels == 1:
                kernel[0, 2], kernel[0, 1] = 1 / CELL**2 / 255, -1 / CELL**2 / 255  # red less green, of BGR
            if name == "bbox":
                bias[:] = 0.5, 0.5, math.log(FACE / stride), math.log(FACE / stride)
            nodes += _head(f"{name}_{stride}", stride)
            for part, value in (("w", kernel), ("b", bias)):
                weights.append(numpy_helper.from_array(value.astype(np.float32), f"{name}_{stride}_{part}"))
            weights.append(numpy_helper.from_array(np.array([1, -1, channels]), f"{name}_{stride}_s"))
            shape = [1, (640 // stride) ** 2, channels]
            outputs.append(helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, shape))
    outputs.sort(key=lambda output: ("cls", "obj", "bbox", "kps").index(output.name.split("_")[0]))
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])
    graph = helper.make_graph(nodes, "squares", [given], outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7), path)


def _head(name, stride):
    """The layers of one output: a convolution, then a list of cells."""
    sides = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
    return [
        helper.make_node("Conv", ["input", f"{name}_w", f"{name}_b"], [f"{name}_c"], **sides),
        helper.make_node("Transpose", [f"{name}_c"], [f"{name}_t"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{name}_t", f"{name}_s"], [name]),
    ]
