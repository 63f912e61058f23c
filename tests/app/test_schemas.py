"""The keys of the JSON documents that programs rely on. They do not change."""

import json
from dataclasses import replace

from longview.app import schemas
from longview.app.errors import BadRequest
from longview.app.files.disk_usage import VideoBytes
from longview.app.ingest.indexer import IndexResult
from longview.app.ingest.sources import SourceReport
from longview.app.qa.answers import Answer
from longview.app.qa.citations import Citation
from longview.app.qa.locator import Location
from longview.app.qa.transcript_coverage import TranscriptCoverage
from longview.core.timeline import Event, Segment, Span, Word
from longview.indexing.exports import export_segments
from longview.indexing.records.track import Provenance
from longview.indexing.search.quotes import Quote
from longview.indexing.search.search import Evidence, Moment
from longview.model.tasks.coverage import Coverage
from longview.model.tasks.localizer import Localization, Occurrence
from longview.video.sampling_plan import SamplingPlan
from tests.support.library_samples import sample_entry, sample_events, sample_track

VIDEO_ID = "aaaaaaaaaaaa"
SPAN = Span(61.2504, 62.5)
SPAN_FIELDS = {"start_s": 61.25, "end_s": 62.5, "start": "0:01:01.3", "end": "0:01:02.5"}
COVERAGE = Coverage(seconds=100.0, frames=200, patch_period_s=1.0, uncovered=(SPAN,), prompt_tokens=900)
COVERAGE_FIELDS = {"seconds": 100.0, "frames": 200, "patch_period_s": 1.0, "uncovered": [SPAN_FIELDS], "prompt_tokens": 900}
PROVENANCE = Provenance("demo@1", "1", {"frames": 200}, "c0ffee", "demo")
PROVENANCE_FIELDS = {
    "checkpoint": "demo@1", "prompt_version": "1", "plan": {"frames": 200}, "revision": "c0ffee", "profile": "demo",
}  # fmt: skip


def test_error_has_code_and_message() -> None:
    document = schemas.ErrorDocument(error=schemas.ErrorOut.of(BadRequest("The query is empty.")))
    assert document.model_dump() == {"error": {"code": "bad_request", "message": "The query is empty."}}


def test_index_and_list_have_videos_with_an_id() -> None:
    track = sample_track("captions", uncovered=(SPAN,), segment_count=2, updated_at="2025-01-02T03:04:05+00:00")
    entry = replace(sample_entry(VIDEO_ID), tracks=(track,))
    reports = (
        SourceReport("speech", "failed", "no sound.", seconds_spent=0.5, error=BadRequest("no sound.")),
        SourceReport("captions", "indexed", segments=2, seconds_spent=1.234, estimated_seconds=2.0),
    )
    failure = schemas.FailedVideoOut(path="/missing.mp4", error=schemas.ErrorOut(code="not_found", message="no file"))
    indexed = schemas.IndexedVideoOut.of(IndexResult(entry, reports, 1.734))
    index = schemas.IndexDocument(videos=[indexed, failure], notice=None).model_dump()
    assert index["videos"][0] == {
        "video_id": VIDEO_ID,
        "path": str(entry.path),
        "status": "partial",
        "duration_s": 100.0,
        "events": 2,
        "seconds_spent": 1.73,
        "sources": [
            {
                "source": "speech",
                "status": "failed",
                "reason": "no sound.",
                "segments": 0,
                "language": None,
                "seconds_spent": 0.5,
                "estimated_seconds": None,
                "error": {"code": "bad_request", "message": "no sound."},
            },
            {
                "source": "captions",
                "status": "indexed",
                "reason": "",
                "segments": 2,
                "language": None,
                "seconds_spent": 1.23,
                "estimated_seconds": 2.0,
                "error": None,
            },
        ],
        "incomplete": [SPAN_FIELDS],
        "damage": None,
    }
    assert schemas.IndexedVideoOut.of(IndexResult(entry, reports[1:], 1.0)).status == "indexed"
    assert index["videos"][1] == {
        "video_id": None,
        "path": "/missing.mp4",
        "status": "failed",
        "error": {"code": "not_found", "message": "no file"},
    }
    listing = schemas.ListDocument(
        videos=[schemas.VideoOut.of(entry, is_outdated=True, sizes=VideoBytes(None, 20, 30), captions_footage=True)]
    ).model_dump()
    (row,) = listing["videos"]
    assert (row["missing"], row["bytes"]) == (True, {"original": None, "caches": 20, "vectors": 30})
    assert (row["video_id"], row["title"], row["events"], row["outdated"]) == (VIDEO_ID, "a video", 2, True)
    assert row["tracks"] == [
        {
            "source": "captions",
            "status": "complete",
            "segments": 2,
            "languages": [],
            "indexed": {"start_s": 0.0, "end_s": 100.0, "start": "0:00:00.0", "end": "0:01:40.0"},
            "done_s": 100.0,
            "model": "demo@1",
            "updated_at": "2025-01-02T03:04:05+00:00",
            "note": "",
            "uncovered": [{"start_s": 61.25, "end_s": 62.5, "start": "0:01:01.3", "end": "0:01:02.5"}],
        }
    ]


def test_transcript_has_segments_with_words() -> None:
    word = Word(SPAN, "Hello.", 0.9)
    segment = Segment(SPAN, "Hello.", "speech", "en", 0.8, (word,))
    assert schemas.SegmentOut.of_segment(segment).model_dump() == SPAN_FIELDS | {
        "text": "Hello.",
        "source": "speech",
        "language": "en",
        "confidence": 0.8,
        "words": [SPAN_FIELDS | {"text": "Hello.", "confidence": 0.9}],
        "box": None,
    }


def test_search_has_moments_with_their_evidence() -> None:
    caption = Evidence(Segment(Span(60, 63), "A red circle.", "captions"), SPAN, ((2, 5),))
    speech = Evidence(Segment(SPAN, "red", "speech", "en", 0.9), SPAN)
    moment = Moment(VIDEO_ID, "a video", (caption, speech), 0.5, verified=True)
    document = schemas.SearchDocument(
        query="red", moments=[schemas.MomentOut.of_moment(moment)], rejected=2, notice=None
    ).model_dump()
    best = SPAN_FIELDS | {"source": "captions", "text": "A red circle."}
    evidence = [
        best | {"language": None, "confidence": None, "highlights": [(2, 5)], "box": None},
        SPAN_FIELDS | {"source": "speech", "text": "red", "language": "en", "confidence": 0.9, "highlights": [], "box": None},
    ]
    expected = {"video_id": VIDEO_ID, "title": "a video", "score": 0.5, "evidence": evidence, "verified": True, "has_words": True}
    assert document["moments"] == [best | expected]
    assert document["rejected"] == 2


def test_locate_has_spans_and_whether_any_was_found() -> None:
    plan = SamplingPlan.__new__(SamplingPlan)  # the document has the plan of the provenance
    results = [
        Localization((Occurrence(SPAN, 0.41234, is_verified=True),), COVERAGE, plan),
        Localization((), COVERAGE, plan),
        Localization((), COVERAGE, plan, unresolved=(SPAN,)),
    ]
    present, absent, unresolved = (
        schemas.LocateDocument.of(VIDEO_ID, Location("red", result), PROVENANCE, "a notice").model_dump() for result in results
    )
    assert present == {
        "query": "red",
        "video_id": VIDEO_ID,
        "spans": [SPAN_FIELDS | {"source": "video", "text": None, "uncertainty_s": 0.412, "verified": True}],
        "found": True,
        "unresolved": [],
        "coverage": COVERAGE_FIELDS,
        "words": None,
        "provenance": PROVENANCE_FIELDS,
        "notice": "a notice",
    }
    assert (absent["found"], absent["spans"]) == (False, [])
    assert (unresolved["found"], unresolved["spans"], unresolved["unresolved"]) == (None, [], [SPAN_FIELDS])


def test_locate_has_mentions_with_their_source() -> None:
    location = Location("red", None, (Quote(SPAN, "The red one.", "speech", "en"),), TranscriptCoverage(60.0, 0, 12))
    document = schemas.LocateDocument.of(VIDEO_ID, location, PROVENANCE, None).model_dump()
    assert document["spans"] == [
        SPAN_FIELDS | {"source": "speech", "text": "The red one.", "uncertainty_s": None, "verified": None}
    ]
    assert document["found"] is True
    assert document["coverage"] is None
    assert document["words"] == {"listened_s": 60.0, "subtitles": 0, "frames_read": 12, "examined_s": {}, "gaps": []}


def test_ask_has_answer_citations_and_coverage() -> None:
    citation = Citation(VIDEO_ID, SPAN, "captions", "A red circle.")
    answer = Answer("A red circle.", (citation,), (PROVENANCE,), 0.12345, 1.0, COVERAGE, thoughts="A circle?")
    document = schemas.AskDocument.of("What?", answer, verified=False, notice=None).model_dump()
    assert document == {
        "question": "What?",
        "answer": "A red circle.",
        "thoughts": "A circle?",
        "citations": [SPAN_FIELDS | {"video_id": VIDEO_ID, "source": "captions", "text": "A red circle."}],
        "first_token_s": 0.123,
        "total_s": 1.0,
        "coverage": COVERAGE_FIELDS,
        "verified": False,
        "quoted": False,
        "found": None,
        "confidence": None,
        "words": None,
        "provenance": PROVENANCE_FIELDS,
        "notice": None,
    }


def test_answer_about_several_videos_has_a_list_of_provenance() -> None:
    answer = Answer("A red circle.", (), (PROVENANCE, PROVENANCE), 0.1, 1.0, COVERAGE)
    document = schemas.AskDocument.of("What?", answer, verified=False, notice=None).model_dump()
    assert document["provenance"] == [PROVENANCE_FIELDS] * 2


def test_captions_and_exports_have_the_same_events() -> None:
    events = [Event(SPAN, "A red circle."), *sample_events("A blue ring.")]
    expected = [schemas.EventOut(**schemas.EventOut.fields_of(event.span), text=event.text).model_dump() for event in events]
    assert expected[0] == SPAN_FIELDS | {"text": "A red circle."}
    segments = [Segment(event.span, event.text, "captions") for event in events]
    exported = json.loads(export_segments("json", sample_entry(VIDEO_ID), segments))["events"]
    assert [{key: event[key] for key in expected[0]} for event in exported] == sorted(
        expected, key=lambda event: event["start_s"]
    )
