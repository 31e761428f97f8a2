"""The same training on images of several sizes and on parts of the data."""
