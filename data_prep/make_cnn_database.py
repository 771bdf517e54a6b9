"""Make the HDF5 databases that the comparison method CNN is trained on (methods/cnn.py).

Liu et al. 2017, doi:10.1016/j.inffus.2016.12.001: every photograph, gray, is blurred five times over, each
time by a Gaussian of sigma 2 in a window of 7x7. Patches of 16x16 are cut out, sharp and blurred, at the same
random places, where the sharp one's variance is over 25. Datasets: a and b, rows x 1 x 16 x 16 bytes, one of
them sharp, and label, rows: 1 where a is, else 0. Photographs, their division and the seed are as in
make_database.py.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

from data_prep.cnn_patches import CnnPatches
from data_prep.database_command import add_common_options, at_least, run_build
from two_stream_fusion.base import cli

EXAMPLES = """examples:
  python data_prep/make_cnn_database.py
  python data_prep/make_cnn_database.py --photos ~/Pictures --samples 1000
  python data_prep/make_cnn_database.py --seed 2 --out build/data_cnn_2
"""


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add_common_options(parser)
    add = parser.add_argument
    add("--out", metavar="DIR", default="build/data_cnn", help="(default: %(default)s, as the net names it)")
    add("--samples", type=at_least(1), default=CnnPatches.samples, metavar="N", help="rows of a"
        " photograph (default: %(default)s)")  # fmt: skip
    add("--val-patches", type=at_least(0), default=CnnPatches.val_patches, metavar="N", help="rows for"
        " validation at most, the solver tests 100 x 64 (default: %(default)s, 0: all)")  # fmt: skip
    args = parser.parse_args(argv)
    spec = CnnPatches(args.val_share, args.val_patches, args.seed, args.samples)
    run_build(spec, args.out, args.photos, args.jobs, args.verbose)


if __name__ == "__main__":
    cli.run(main)
