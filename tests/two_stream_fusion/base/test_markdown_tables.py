from two_stream_fusion.base import markdown_tables


def test_markdown_of_any_cells():
    text = markdown_tables.markdown(["name", 2], [["a", 0.5], ["", None]])
    assert text == "| name | 2 |\n|---|---|\n| a | 0.5 |\n| | None |\n"


def test_csv_quotes_commas():
    assert markdown_tables.comma_separated(["a", "b"], [["x,y", 1]]) == 'a,b\n"x,y",1\n'
