"""Processes images in a worker process, so that a crash costs one image.

A decoder or an inference provider may crash, hang or exhaust the memory. So images are decoded and
classified in a worker process. `Supervisor` starts it, sends it batches, and detects when it dies
or hangs; then it finds in the worker's `Journal` the images that were in progress, tries each of
them alone in a new process, and continues with the others.
"""
