"""What all tasks share: the nouns, options, evaluation, prediction, networks, images, command line."""
