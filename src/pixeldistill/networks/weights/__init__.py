"""Loading weights from any source into a network."""
