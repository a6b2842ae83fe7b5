"""What all tasks share: nouns, options, evaluation, prediction, networks, images, commands."""
