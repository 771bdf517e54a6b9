from eval import bench


def test_bench_prints_metrics_methods_and_memory(capsys, monkeypatch):
    monkeypatch.setattr(bench.registry, "TITLES", {"lp": "LP", "gf": "GF"})
    few = {name: bench.metrics.REGISTRY[name] for name in (*bench.metrics.METRICS, "SF", "Qcb", "Qe_edge")}
    monkeypatch.setattr(bench.metrics, "REGISTRY", few)
    monkeypatch.setattr(bench.metrics, "select_names", lambda text: list(few)[:3])
    bench.main(["--rounds", "1", "--megapixels", "0.3"])
    out = capsys.readouterr().out
    assert "metrics together on 512 x 512" in out and "peak memory" in out
    times = dict(
        line.split()[:2] for line in out.split("each metric alone")[1].splitlines()[1 : len(few) + 1]
    )
    assert list(times) == list(few) and all(float(time) > 0 for time in times.values())
    for row, goal in (("six of the paper", "30"), ("all but variants", "500")):
        (line,) = (line for line in out.splitlines() if line.startswith(f"  {row} "))
        new, _, again, _ = line[len(row) + 2 :].split(",")[0].split()
        assert float(new) > 0 and float(again) > 0 and line.endswith(f"goal {goal}")
    for title, limit in (("LP", "15"), ("GF", "60")):
        first, second = (part.splitlines()[0].split() for part in out.split(f"  {title} ")[1:])
        assert float(first[0]) > 0 and first[-1] == limit
        assert float(second[0]) > 0 and 20 < float(second[1]) < 1000
    monkeypatch.setattr(bench, "LONGEST", 0)
    bench.main(["--rounds", "1", "--megapixels", "0.05"])
    assert "GF     left out: it takes about 0 minutes" in capsys.readouterr().out


def test_sources_are_new_in_each_round_and_then_the_same():
    seen = []
    images = bench.make_pair_with_truth(8, 12)
    bench._time_new_and_again(lambda a, b, fused: seen.append(a.tobytes()), images, 3)
    _, *rounds = seen  # after one call to warm up
    assert rounds[::2] == rounds[1::2] and len(set(seen)) == 4
