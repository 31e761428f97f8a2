"""Trains image classifiers in Keras on a folder of labelled photographs."""
