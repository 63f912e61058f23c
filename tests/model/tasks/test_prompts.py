"""Queries cannot change the prompt around them."""

import pytest

from longview.model.tasks.prompts import localize_prompt


@pytest.mark.parametrize("query", ['He says "go".', "a {curly} 100% [query]", "빨간 원"])
def test_query_stays_inside_its_quotes(query: str) -> None:
    prompt = localize_prompt(query)
    assert prompt.count('"') == localize_prompt("plain").count('"')
    assert query.strip(".").replace('"', "'") in prompt
