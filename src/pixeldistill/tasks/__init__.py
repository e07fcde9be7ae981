"""What is asked of an image: one module a task, with its loss and its metrics."""
