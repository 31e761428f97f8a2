"""Where files are: on a disk or in a bucket, there whole or not at all."""
