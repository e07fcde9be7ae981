"""Data: sources of labelled images, their checking, and the views that networks get of them."""
