"""`objects`: which class does every pixel belong to?

Conventions: pictures are uint8 RGB (H, W, 3), one an input; masks are uint8 (H, W), the index of
a class, or 255 where none is known. A class called `background` is left out of the means over
classes.
"""

import lazy_loader

# Imported when first asked for, so that `--help` can read a wing's options and load nothing else.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "options": ["Conditions", "InputOptions"],
        "types": ["Labelled", "Picture"],
    },
)
