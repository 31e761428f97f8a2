"""Support vector machines, fitted on the features of a results folder."""
