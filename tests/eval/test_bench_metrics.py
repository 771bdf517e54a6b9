from eval import bench


def test_bench_prints_a_ratio_the_methods_and_the_memory(capsys, monkeypatch):
    monkeypatch.setattr(bench.methods, "TITLES", {"lp": "LP", "gf": "GF"})
    bench.main(["--rounds", "1", "--megapixels", "0.3"])
    out = capsys.readouterr().out
    assert "times as fast" in out and "peak memory" in out
    assert all(float(out.split(f"  {title} ")[1].split()[0]) > 0 for title in ("LP", "GF"))
    difference = float(out.split("largest difference of a value ")[1].split()[0])
    assert difference < 1e-12
