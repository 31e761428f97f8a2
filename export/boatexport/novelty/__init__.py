"""How unlike the training images a picture is: chosen by measurement, and a part of the graph."""
