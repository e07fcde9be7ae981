"""Classification: one class for an image."""
