"""Tables in Markdown."""

from __future__ import annotations

from agvm_runs.markdown import markdown_table


def test_a_head_a_rule_and_a_line_for_each_row() -> None:
    text = markdown_table(['a', 'b'], [['1', 'x|y'], ['2', '']])
    assert text.splitlines() == ['| a | b |', '| --- | --- |', r'| 1 | x\|y |', '| 2 |  |']
