"""Show what this project does: fuse two photographs with the released weights, then train a net for a minute.

The pictures go to build/demo, the logs to build/logs. `make demo` runs this.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import sys
from pathlib import Path

from tools import plot_log, timing, train
from two_stream_fusion.base import cli

EXAMPLES = """examples:
  python tools/demo.py
  python tools/demo.py --caffe build/bvlc/bin/caffe     trains by BVLC Caffe
  make demo                                             the same, after `make setup`
"""
DEMO, LOG = Path("build/demo"), Path("build/logs/demo.log")
SOLVER = "solver/demo.prototxt"


def run(title: str, *arguments: str) -> None:
    """Run a Python program of this checkout; what it prints goes to build/logs/demo-NAME.log.

    Args:
        title: printed first.
        *arguments: the program, and its own.

    Raises:
        ValueError: the program failed; the message names its log and its last line.
    """
    print(title, flush=True)
    log = LOG.with_name(f"demo-{Path(arguments[0]).stem}.log")
    timing.run_logged([sys.executable, *arguments], arguments[0], log)


def fuse() -> None:
    """Fuse a pair with the released weights: fused.png and panel.png."""
    a, b, fused, panel = (str(DEMO / f"{name}.png") for name in ("a", "b", "fused", "panel"))
    run("1. A pair: two photographs of one scene, focused at different depths", "tools/demo_pair.py")
    printed = LOG.with_name("demo-demo_pair.log").read_text(errors="replace")
    rendered = "   rendered from depth, since no real pair could be fetched"
    print(rendered if "rendered" in printed else "   a real pair")
    outputs = ["-o", fused, "--panel", panel, "--force"]
    run("2. Fusing it with the released weights", "tools/fuse.py", a, b, *outputs)


def train_net(caffe: str) -> float:
    """Train the fast net for 500 iterations and draw its loss: loss.png.

    Returns:
        The PSNR on the validation patches, in dB.

    Raises:
        ValueError: the training failed.
    """
    if not Path("build/data/train.txt").exists():
        run("3. Training data: blurred pairs of photographs, cut into patches", "data_prep/make_database.py")
    print("4. Training the fast net from random filters: 500 iterations, about a minute", flush=True)
    if train.train(["-solver", SOLVER], caffe, LOG):
        raise ValueError(f"the training failed (log: {LOG})")
    with open(LOG, errors="replace") as file:
        curves = plot_log.parse(file)
    plot_log.plot({"demo": curves}, DEMO / "loss.png", patch=50)
    return plot_log.psnr(curves[1][-1][1], patch=50)


def main(argv: list[str] | None = None) -> None:
    parser = cli.parser(__doc__, EXAMPLES)
    train.add_caffe_option(parser)
    args = parser.parse_args(argv)
    DEMO.mkdir(parents=True, exist_ok=True)
    fuse()
    psnr = train_net(args.caffe)
    print(f"   validation PSNR: {psnr:.2f} dB (the released weights of this net: 47.98 dB on other patches)")
    print("Open these:")
    print(f"   {DEMO}/panel.png   both photographs and the fused image")
    print(f"   {DEMO}/fused.png   the fused image")
    print(f"   {DEMO}/loss.png    how the loss fell")
    print(f"The log: {LOG}")


if __name__ == "__main__":
    cli.run(main)
