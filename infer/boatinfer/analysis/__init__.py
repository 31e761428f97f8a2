"""Analysis of results: evaluation, comparison of runs, similar images, and drift."""
