"""`grains`: where are the grain boundaries in this micrograph, and how large are the grains?

Conventions: a micrograph is one channel (H, W). `mask` is the boundary as a person draws it, some
pixels wide; `lines` its middle, one pixel wide; `labels` int32 the closed grains from 1, 0 outside
the specimen, or all 0 when there is no grain. Grains that touch the frame, or the edge of the
specimen, are cut by it and left out of diameters.
"""

import lazy_loader

# Imported when first asked for, so that `--help` can read a wing's options and load nothing else.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "options": ["Conditions", "InputOptions"],
        "types": ["Boundaries", "Drawing", "Micrograph"],
        "scale": ["Scale"],
    },
)
