"""Training: the objective, the engine that steps, and the stages of a recipe."""
