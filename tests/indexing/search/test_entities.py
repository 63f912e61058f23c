"""Entities are recognised by their form, in six languages."""

import pytest

from longview.core.timeline import Span
from longview.indexing.search.entities import EntityKind, find_entities
from longview.indexing.text.sentences import Sentence


def spoken_sentences(*texts: str, language: str = "en") -> list[Sentence]:
    return [Sentence(Span(number, number + 1), text, "speech", language) for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("kind", "language", "text", "found"),
    [
        ("prices", "en", "It costs $400,000, 55 dollars or four hundred and fifty euros.", ["$400,000", "55 dollars",
         "four hundred and fifty euros"]),
        ("prices", "de", "Das sind vierhunderttausend Euro und 3,50 € pro Stück.", ["vierhunderttausend Euro", "3,50 €"]),
        ("prices", "fr", "Cela coûte 12,50 euros, ou deux cents francs.", ["12,50 euros", "deux cents francs"]),
        ("prices", "es", "Cuesta cuatrocientos mil euros.", ["cuatrocientos mil euros"]),
        ("prices", "ko", "가격은 5만 원이고 배송은 3,000원입니다.", ["5만 원", "3,000원"]),
        ("prices", "ja", "値段は3000円で、送料は五百円です。", ["3000円", "五百円"]),
        ("prices", "en", "Bus 80 leaves at 11:30 from stop 7.", []),
        ("dates", "en", "We met on July 1, on 12 May 2024, in 1780 and on Monday.", ["July 1", "12 May 2024", "1780", "Monday"]),
        ("dates", "en", "The first trip is on the first of June.", ["first of June"]),
        ("dates", "de", "Am 3. Mai 2024 und am 01.07.2025.", ["3. Mai 2024", "01.07.2025"]),
        ("dates", "es", "El 3 de mayo de 2024 o el lunes.", ["3 de mayo de 2024", "lunes"]),
        ("dates", "ja", "2024年5月3日の金曜日です。", ["2024年5月3日", "金曜日"]),
        ("dates", "en", "He may march 40 miles at 20:24.", []),
        ("names", "en", "Deborah Miller met Tom in Upper Street, a French town.", ["Deborah Miller", "Tom", "Upper Street"]),
        ("names", "de", "Manche Leuchttürme stehen dort, sagte Frau Schmidt zu Peter Müller.", ["Frau Schmidt", "Peter Müller"]),
        ("names", "ko", "김민수 씨가 왔어요.", ["김민수"]),
        ("names", "en", "New Water Pipes For The Town", []),
        ("names", "en", "Chair: Margaret Holloway", ["Margaret Holloway"]),
        ("names", "en", "Mr. Smith met Dr. Jones on Mondays.", ["Smith", "Jones"]),
        ("prices", "en", "A ticket costs 18 dollars and 50 cents.", ["18 dollars and 50 cents"]),
        ("numbers", "en", "About 25 percent of forty two people, one of them twice.", ["25 percent", "forty two"]),
        ("emails", "en", "Write to info@town.example or to help at town dot org.", ["info@town.example", "help at town dot org"]),
        ("web", "en", "See www.harwick.example/budget.", ["www.harwick.example/budget"]),
        ("phones", "en", "Call +44 20 7946 0958 before 12.05.2024, room 12.", ["+44 20 7946 0958"]),
    ],
)  # fmt: skip
def test_entities_are_found_in_words(kind: EntityKind, language: str, text: str, found: list[str]) -> None:
    assert [entity.text for entity in find_entities(spoken_sentences(text, language=language), [kind])] == found


def test_equal_entities_are_counted_and_numbers_of_dates_are_not_repeated() -> None:
    sentences = spoken_sentences("It was $5 on July 1.", "Again $5, for 7 people.")
    entities = find_entities(sentences, ["numbers", "prices", "dates"])
    assert [(entity.text, entity.count) for entity in entities] == [("$5", 2), ("July 1", 1), ("7", 1)]


def test_word_that_begins_a_sentence_is_a_name_if_it_is_one_elsewhere() -> None:
    sentences = spoken_sentences("Ruth is here.", "Then we asked Ruth.", "Water is here.")
    assert [(entity.text, entity.count) for entity in find_entities(sentences, ["names"])] == [("Ruth", 2)]
