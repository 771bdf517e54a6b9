"""Small nets run fastest on one thread, and always give the same numbers there."""

import os

import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests start
torch.set_num_threads(1)
