from eval import bench


def test_bench_prints_a_ratio_and_the_memory(capsys):
    bench.main(["--rounds", "1", "--megapixels", "0.3"])
    out = capsys.readouterr().out
    assert "times as fast" in out and "peak memory" in out
    difference = float(out.split("largest difference of a value ")[1].split()[0])
    assert difference < 1e-12
