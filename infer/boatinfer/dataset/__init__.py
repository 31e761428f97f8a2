"""Labelled images: class folders, splits and batches, for training, export and evaluation."""
