"""`lines`: what stood in the missing lines of this scan?

Conventions: scans are float32 (N, H, W) in [0, 1], a stack of them one input; `missing` bool
(N, H, W) is True where a pixel is missing, and the scan 0 there. Measured pixels come back as they
were, to the last bit. PSNR has a data range of 1.
"""

import lazy_loader

# Imported when first asked for, so that `--help` can read a wing's options and load nothing else.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "options": ["Conditions", "InputOptions"],
        "types": ["Filled", "Scans", "Truth"],
    },
)
