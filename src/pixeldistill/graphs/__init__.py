"""ONNX graphs before and after a network: resizing as cameras do, and conversion to grey."""
