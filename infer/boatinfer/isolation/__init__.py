"""Work on images in a process of its own, whose death costs one image.

A decoder or an inference provider may crash, hang or exhaust the memory. So images are
decoded and classified in a worker process; `Supervisor` starts it, hands it batches, notices
when it dies or hangs, finds in its `Journal` the images that it was working on, tries each of
these alone in a fresh process, and goes on with the rest.
"""
