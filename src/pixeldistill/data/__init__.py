"""Data: sources of labelled images, checks of the images, and the views that networks read."""
