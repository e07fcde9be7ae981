"""Recipes: what the user writes, validated strictly, and the stages that it stands for. No torch."""
