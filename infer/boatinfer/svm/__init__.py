"""Support vector machines on the features of a results folder."""
