import pytest

from two_stream_fusion.base.options import parse_options

DEFAULTS = {"levels": 4, "rule": "max", "exact": False, "range": None}


def test_values_have_the_type_of_their_default():
    settings = ["levels=2", "rule=min", "exact=True", "range=0,1.5"]
    expected = {"levels": 2, "rule": "min", "exact": True, "range": (0.0, 1.5)}
    assert parse_options("lp", DEFAULTS, settings) == expected
    assert parse_options("lp", DEFAULTS, ["range=3"]) == {"range": 3.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["levels=2", "levels=3"], "levels is given twice"),
        (["depth=2"], "lp takes levels=4"),
        (["levels"], "lp takes levels=4"),
        (["levels=two"], "a value such as 4 is needed"),
        (["exact=maybe"], "a value such as False is needed"),
        (["range=wide"], "numbers are needed"),
    ],
)
def test_other_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        parse_options("lp", DEFAULTS, settings)
