"""Turns Keras models into self-describing, verified ONNX files."""
