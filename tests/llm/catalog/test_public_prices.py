"""The price table against a public one."""

from tests.llm.catalog.public_prices import BEGIN, END, EXCEPTIONS, GUIDE, compared, comparison


def test_prices_are_those_of_the_public_table() -> None:
    """Field fault 114: prices were missing, outdated or wrong, field by field."""
    rows = list(compared())
    different = {(row.model, row.field): (row.ours, row.public) for row in rows if not row.is_same}
    assert {key: value for key, value in different.items() if key not in EXCEPTIONS} == {}
    assert set(EXCEPTIONS) <= set(different), "an exception is no longer needed"
    assert len({row.model for row in rows}) > 60
    assert len(rows) > 200


def test_the_guide_shows_the_current_comparison() -> None:
    """`python -m tests.llm.catalog.public_prices` writes it."""
    shown = GUIDE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == comparison()
