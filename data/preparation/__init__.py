"""From annotations and images to a data set that a network can be trained on."""
