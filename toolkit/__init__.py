"""What a question about images is, the steps that all its answers share, how answers are scored, and the command line."""

import os

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(100_000_000))  # read by OpenCV when it is imported

__version__ = "0.1.0"
