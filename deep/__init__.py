"""Methods with a network in the middle and classical steps on either side; no torch here."""
