"""The night: what there is, what is due, and how it is classified, on one machine or many."""
