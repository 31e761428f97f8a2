"""``boatinfer review``: images that are worth a person's time, labelled in the browser."""
