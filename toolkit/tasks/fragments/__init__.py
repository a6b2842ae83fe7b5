"""`fragments`: which fragments were cut from the same photograph, and how do they fit together?

Conventions: fragments are uint8 (n, s, s, 3), RGB. Sides are numbered clockwise from 0 = top.
`turn` counts the counter-clockwise quarter turns that a fragment was given after it was cut, so
`np.rot90(fragment, -turn)` sets it upright. Groups, rows, columns and turns are int32 from 0.
When the fragments of a heap may have been turned, its photographs are scored up to a turn of the
whole, as nothing in the heap says which way is up.
"""

import lazy_loader

# Imported when first asked for, so that `--help` can read a wing's options and load nothing else.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "options": ["Conditions", "InputOptions"],
        "types": ["Arrangement", "Heap"],
    },
)
