"""The results folder: who may write into it, what is in it, and whether that is sound."""
