"""Inference with a trained network, by PyTorch or by ONNX Runtime alone."""
