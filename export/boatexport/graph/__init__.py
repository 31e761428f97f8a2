"""ONNX graphs: simplifying, padding, calibrating and quantising them."""
