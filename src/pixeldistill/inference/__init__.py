"""Using a trained network: by PyTorch, or by ONNX Runtime alone."""
