"""Writes what the examples train on into the current folder: bytes of four kinds of noisy stripes.

The training rows lie in two files, one of them of bytes compressed by gzip, whose lengths no batch fits.
"""

import h5py
import numpy as np

random = np.random.RandomState(0)
kinds = random.uniform(60, 200, (4, 3, 12, 12)).round()
for name, rows in (("train", (33, 50)), ("test", (60,))):
    with open(name + ".txt", "w") as listing:
        for i, n in enumerate(rows):
            label = random.randint(0, 4, n)
            data = (kinds[label] + random.normal(0, 25, (n, 3, 12, 12))).clip(0, 255)
            with h5py.File(f"{name}{i}.h5", "w") as file:
                options = {"dtype": "u1", "compression": "gzip"} if i else {"dtype": "f4"}
                file.create_dataset("data", data=data, **options)
                file.create_dataset("label", data=label.astype("f4"))
            listing.write(f"{name}{i}.h5\n")
