"""ONNX graphs: reading, simplifying, padding and quantising them."""
