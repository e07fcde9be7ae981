"""Export of a run folder to one ONNX file that needs no PyTorch."""
