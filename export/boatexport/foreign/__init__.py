"""Model cards for ONNX models made elsewhere."""
