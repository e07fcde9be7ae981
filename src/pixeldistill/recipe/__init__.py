"""Recipes: the user's files, validated strictly, and the stages that they stand for. No torch."""
