"""Training: the objective, the engine that runs the steps, and the stages of a recipe."""
