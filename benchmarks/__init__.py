"""What the program costs, measured beside bare libraries in the same run: ``python -m benchmarks``."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # one core, said before NumPy is loaded
