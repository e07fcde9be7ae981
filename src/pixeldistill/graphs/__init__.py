"""ONNX graphs that stand around a network: images resized as cameras do, colours taken away."""
