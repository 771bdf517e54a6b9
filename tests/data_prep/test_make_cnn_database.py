"""The command that makes the databases of CNN."""

import pytest

from data_prep import make_cnn_database


@pytest.mark.parametrize(
    ("arguments", "words"), [(["--samples", "0"], "--samples"), (["--val-share", "1"], "--val-share")]
)
def test_wrong_usage_is_status_2(capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        make_cnn_database.main(arguments)
    assert stop.value.code == 2 and words in capsys.readouterr().err
