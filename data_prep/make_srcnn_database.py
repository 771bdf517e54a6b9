"""Make the HDF5 databases that the comparison method SRCNN is trained on (methods/srcnn.py).

A photograph, gray, is halved by averaging 2x2 pixels and enlarged again by bicubic interpolation. Rows are
crops of 48x48 from one plane of the wavelet transforms (methods/uwt.py, at the spacing that the method has at
the larger size). data is from the interpolated photograph, label from the photograph itself, rows x 1 x 48 x
48 float32 each, divided as the method divides them. --planes says which of the two nets it is for: the one of
the approximation or the one of all details. Photographs, their division and the seed are as in
make_database.py.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

from data_prep.database_command import add_common_options, at_least, run_build
from data_prep.srcnn_patches import PLANES, SrcnnPatches
from two_stream_fusion.base import cli

EXAMPLES = """examples:
  python data_prep/make_srcnn_database.py --planes approximation
  python data_prep/make_srcnn_database.py --planes detail
  python data_prep/make_srcnn_database.py --planes detail --photos ~/Pictures --samples 20
"""


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add_common_options(parser)
    add = parser.add_argument
    add("--planes", choices=PLANES, required=True, help="what the net is for")
    add("--out", metavar="DIR", help="(default: build/data_srcnn_PLANES, as the net names it)")
    add("--samples", type=at_least(1), default=SrcnnPatches.samples, metavar="N", help="rows of a"
        " photograph (default: %(default)s)")  # fmt: skip
    args = parser.parse_args(argv)
    spec = SrcnnPatches(args.val_share, 0, args.seed, args.planes, args.samples)
    run_build(spec, args.out or f"build/data_{spec.kind}", args.photos, args.jobs, args.verbose)


if __name__ == "__main__":
    cli.run(main)
