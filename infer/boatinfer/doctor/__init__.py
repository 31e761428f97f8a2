"""``boatinfer doctor``: whether machine and folders are fit for the next night."""
