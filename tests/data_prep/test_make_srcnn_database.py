"""The command that makes the databases of SRCNN."""

import pytest

from data_prep import make_srcnn_database


@pytest.mark.parametrize(
    ("arguments", "words"), [([], "--planes"), (["--planes", "detail", "--jobs", "0"], "--jobs")]
)
def test_wrong_usage_is_status_2(capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        make_srcnn_database.main(arguments)
    assert stop.value.code == 2 and words in capsys.readouterr().err
