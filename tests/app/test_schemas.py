"""The keys of the JSON documents that programs rely on. They do not change."""

import json

from longview.app import schemas
from longview.app.answers import Answer, Citation
from longview.app.errors import BadRequest
from longview.app.indexer import IndexResult
from longview.indexing.exports import export_segments
from longview.indexing.library import Provenance
from longview.indexing.search import Moment
from longview.model.tasks.coverage import Coverage
from longview.model.tasks.localizer import Localization, Occurrence
from longview.video.sampler import SamplingPlan
from longview.video.timeline import Event, Segment, Span
from tests.indexing.samples import sample_entry, sample_events

VIDEO_ID = "aaaaaaaaaaaa"
SPAN = Span(61.2504, 62.5)
SPAN_FIELDS = {"start_s": 61.25, "end_s": 62.5, "start": "0:01:01.3", "end": "0:01:02.5"}
COVERAGE = Coverage(seconds=100.0, frames=200, patch_period_s=1.0, uncovered=(SPAN,))
COVERAGE_FIELDS = {"seconds": 100.0, "frames": 200, "patch_period_s": 1.0, "uncovered": [SPAN_FIELDS]}
PROVENANCE = Provenance("demo@1", "1", {"frames": 200})
PROVENANCE_FIELDS = {"checkpoint": "demo@1", "prompt_version": "1", "plan": {"frames": 200}}


def test_error_has_code_and_message() -> None:
    document = schemas.ErrorDocument(error=schemas.ErrorOut.of(BadRequest("The query is empty.")))
    assert document.model_dump() == {"error": {"code": "bad_request", "message": "The query is empty."}}


def test_index_and_list_have_videos_with_an_id() -> None:
    entry = sample_entry(VIDEO_ID)
    failure = schemas.FailedVideoOut(path="/missing.mp4", error=schemas.ErrorOut(code="not_found", message="no file"))
    index = schemas.IndexDocument(
        videos=[schemas.IndexedVideoOut.of(IndexResult(entry, 1.234, 2.0)), failure], notice=None
    ).model_dump()
    assert index["videos"][0] == {
        "video_id": VIDEO_ID,
        "path": str(entry.path),
        "status": "indexed",
        "duration_s": 100.0,
        "events": 0,
        "seconds_spent": 1.23,
        "estimated_seconds": 2.0,
        "incomplete": [{"start_s": 90.0, "end_s": 100.0, "start": "0:01:30.0", "end": "0:01:40.0"}],
    }
    assert index["videos"][1] == {
        "video_id": None,
        "path": "/missing.mp4",
        "status": "failed",
        "error": {"code": "not_found", "message": "no file"},
    }
    listing = schemas.ListDocument(videos=[schemas.VideoOut.of(entry, is_outdated=True)]).model_dump()
    (row,) = listing["videos"]
    assert (row["video_id"], row["title"], row["outdated"]) == (VIDEO_ID, "a video", True)


def test_search_has_moments() -> None:
    moment = Moment(VIDEO_ID, "a video", SPAN, "A red circle.", 0.5, "caption", verified=True)
    document = schemas.SearchDocument(
        query="red", moments=[schemas.MomentOut.of_moment(moment)], rejected=2, notice=None
    ).model_dump()
    assert document["moments"] == [
        SPAN_FIELDS
        | {
            "video_id": VIDEO_ID,
            "title": "a video",
            "text": "A red circle.",
            "score": 0.5,
            "source": "caption",
            "verified": True,
        }
    ]
    assert document["rejected"] == 2


def test_locate_has_spans_and_whether_any_was_found() -> None:
    plan = SamplingPlan.__new__(SamplingPlan)  # the document has the plan of the provenance
    results = [
        Localization((Occurrence(SPAN, 0.41234, is_verified=True),), COVERAGE, plan),
        Localization((), COVERAGE, plan),
        Localization((), COVERAGE, plan, unresolved=(SPAN,)),
    ]
    present, absent, unresolved = (
        schemas.LocateDocument.of("red", VIDEO_ID, result, PROVENANCE, "a notice").model_dump() for result in results
    )
    assert present == {
        "query": "red",
        "video_id": VIDEO_ID,
        "spans": [SPAN_FIELDS | {"uncertainty_s": 0.412, "verified": True}],
        "found": True,
        "unresolved": [],
        "coverage": COVERAGE_FIELDS,
        "provenance": PROVENANCE_FIELDS,
        "notice": "a notice",
    }
    assert (absent["found"], absent["spans"]) == (False, [])
    assert (unresolved["found"], unresolved["spans"], unresolved["unresolved"]) == (None, [], [SPAN_FIELDS])


def test_ask_has_answer_citations_and_coverage() -> None:
    citation = Citation(VIDEO_ID, SPAN, "caption", "A red circle.")
    answer = Answer("A red circle.", (citation,), (PROVENANCE,), 0.12345, 1.0, COVERAGE)
    document = schemas.AskDocument.of("What?", answer, verified=False, notice=None).model_dump()
    assert document == {
        "question": "What?",
        "answer": "A red circle.",
        "citations": [SPAN_FIELDS | {"video_id": VIDEO_ID, "source": "caption", "text": "A red circle."}],
        "first_token_s": 0.123,
        "total_s": 1.0,
        "coverage": COVERAGE_FIELDS,
        "verified": False,
        "provenance": PROVENANCE_FIELDS,
        "notice": None,
    }


def test_answer_about_several_videos_has_a_list_of_provenance() -> None:
    answer = Answer("A red circle.", (), (PROVENANCE, PROVENANCE), 0.1, 1.0, COVERAGE)
    document = schemas.AskDocument.of("What?", answer, verified=False, notice=None).model_dump()
    assert document["provenance"] == [PROVENANCE_FIELDS] * 2


def test_captions_and_exports_have_the_same_events() -> None:
    events = [Event(SPAN, "A red circle."), *sample_events("A blue ring.")]
    expected = [event.model_dump() for event in schemas.EventOut.of_events(events)]
    assert expected[0] == SPAN_FIELDS | {"text": "A red circle."}
    segments = [Segment(event.span, event.text, "captions") for event in events]
    exported = json.loads(export_segments("json", sample_entry(VIDEO_ID), segments))["events"]
    assert [{key: event[key] for key in expected[0]} for event in exported] == sorted(
        expected, key=lambda event: event["start_s"]
    )
