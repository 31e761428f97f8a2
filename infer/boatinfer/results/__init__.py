"""The results folder: its parts, its tables, its proof, and who may write into it."""
