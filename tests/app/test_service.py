"""The use cases over one library, in process, with the bundled checkpoint."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from longview.app.ingest.options import IndexOptions
from longview.app.ingest.outcomes import source_text
from longview.app.service import Longview
from longview.app.serving.workers import Workers
from longview.core.timeline import Segment, Span
from longview.indexing.errors import UnknownVersion
from longview.indexing.records.track import Provenance
from longview.indexing.records.video import VideoEntry
from longview.model.engine import local
from longview.model.engine.checkpoints.checkpoints import DEMO
from longview.model.engine.sessions import SessionPool
from longview.model.errors import InvalidQuestion
from longview.model.tasks.question import MAX_QUESTION_CHARACTERS
from tests.support.app_samples import TWICE, demo_settings
from tests.support.barcodes import run_ffmpeg

TOO_LONG = "red " * (MAX_QUESTION_CHARACTERS // 4) + "x"


def test_locate_finds_all_occurrences_of_a_sentence(app: Longview, twice: VideoEntry) -> None:
    # The coarse pass misses the second occurrence. It is a candidate by its caption, and a clip confirms it.
    spans = [item.span for item in app.locate(twice, TWICE[0].text).result().occurrences]
    assert len(spans) == 2
    assert spans[0].iou(TWICE[0].event.span) > 0.9 and spans[1].iou(TWICE[3].event.span) > 0.9


def test_locate_searches_the_whole_video_if_a_part_was_indexed(twice_path: Path, tmp_path: Path) -> None:
    app = Longview(demo_settings(tmp_path / "part"))
    entry = app.index(twice_path, IndexOptions(start_s=14.0, end_s=20.5)).result().entry
    assert [item.text for item in app.segments(entry)] == [TWICE[2].text]
    assert app.locate(entry, "red circle").result().occurrences
    assert app.locate(entry, "blue star").result().occurrences[0].span.iou(TWICE[2].event.span) > 0.9


def test_exact_cut_ignores_key_frames_only(app: Longview, twice_path: Path, tmp_path: Path) -> None:
    fast = Longview(demo_settings(tmp_path / "library", key_frames_only=True))
    for name, longview in (("exact.mp4", app), ("fast.mp4", fast)):
        title, video = longview.parts.media.resolve(str(twice_path))
        cut = longview.parts.outputs.cut(title, video, Span(12.02, 20.5), tmp_path / name, reencode=True)
        assert cut.span == Span(12.02, 20.5)
    assert (tmp_path / "exact.mp4").read_bytes() == (tmp_path / "fast.mp4").read_bytes()


def test_captions_of_another_checkpoint_or_prompt_are_outdated(
    app: Longview, twice: VideoEntry, short_path: Path, tmp_path: Path
) -> None:
    assert not app.is_outdated(twice)
    other_model = shutil.copytree(DEMO, tmp_path / "other")
    config = json.loads((other_model / "config.json").read_text())
    (other_model / "config.json").write_text(json.dumps(config | {"note": "fine-tuned"}))
    assert Longview(demo_settings(app.parts.library.folder, model=str(other_model))).is_outdated(twice)

    entry = app.index(short_path).result().entry
    track = entry.track("captions")
    assert track is not None
    for provenance in (Provenance("other@1", "1", {}), replace(track.provenance, prompt_version="0")):
        app.parts.library.tracks.update(entry.video_id, replace(track, provenance=provenance))
        assert app.is_outdated(app.video(entry.video_id))
        assert not app.is_outdated(app.index(short_path).result().entry)
    app.remove(entry)


def test_newer_default_is_offered_and_the_older_captions_stay(app: Longview, short_path: Path) -> None:
    entry = app.index(short_path).result().entry
    assert app.caption_offer(entry) is None
    track = entry.track("captions")
    assert track is not None and (track.provenance.profile, track.provenance.revision) == ("demo", "")
    older = replace(track, provenance=replace(track.provenance, prompt_version="1"))
    captions = [Segment(Span(1, 2), "An older caption about ducks.", "captions")]
    app.parts.library.put_captions(entry.video_id, older, captions, summary="old", chapters=())
    entry = app.video(entry.video_id)
    content = app.export(entry, "json", ["captions"])
    offer = app.caption_offer(entry)
    assert offer is not None and offer.text == "Captioned by demo (prompts 1); the chosen checkpoint is demo (prompts 2)."
    assert offer.command == f"longview index {short_path} --sources captions --model demo"
    workers = Workers(app)
    job = workers.caption_again(entry)
    assert workers.caption_again(entry).job_id == job.job_id
    while workers.job(job.job_id).status in ("waiting", "running"):
        time.sleep(0.05)
    assert workers.job(job.job_id).status == "done"
    workers.close(wait_s=60)
    newer = app.video(entry.video_id)
    assert app.caption_offer(newer) is None and newer.summary != "old"
    moments = app.search("ducks", video=entry.video_id, verify=False).result().moments
    assert captions[0].text not in [moment.text for moment in moments]
    earlier = next(version for version in app.parts.library.versions.of_video(newer.video_id) if version.summary == "old")
    assert app.export_version(newer, "json", earlier) == content
    with pytest.raises(UnknownVersion):
        app.parts.library.versions.version(newer.video_id, 10**6)
    app.remove(entry)


def test_demo_checkpoint_neither_replaces_captions_that_it_declines_nor_is_offered(app: Longview, tmp_path: Path) -> None:
    path = tmp_path / "unknown.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=320x192:rate=5:duration=6", "-pix_fmt", "yuv420p", str(path))
    options = IndexOptions(sources=("captions",))
    entry = app.index(path, options).result().entry
    declined = entry.track("captions")
    # What it has declined is not offered again, unless there is a newer one.
    assert declined is not None and declined.status == "declined" and app.caption_offer(entry) is None
    older = replace(declined, provenance=replace(declined.provenance, prompt_version="1"))
    offer = app.caption_offer(replace(entry, tracks=(older,)))
    assert offer is not None and offer.text.startswith("Declined by demo (prompts 1); ") and offer.advice.endswith("captions it.")
    provenance = Provenance("Qwen/Qwen3-VL-8B-Instruct@1", "4", {}, profile="qwen3-vl")
    captions = [Segment(Span(1, 2), "A clock counts.", "captions")]
    track = replace(declined, status="complete", provenance=provenance)
    app.parts.library.put_captions(entry.video_id, track, captions, summary="", chapters=())
    entry = app.video(entry.video_id)
    assert app.is_outdated(entry) and app.caption_offer(entry) is None
    result = app.index(path, options).result()
    assert source_text(result.reports[0], result.entry) == (
        "kept: the demo checkpoint cannot caption this kind of video; the captions of Qwen/Qwen3-VL-8B-Instruct stay"
    )
    assert app.segments(result.entry, "captions") == tuple(captions)
    app.remove(entry)


@pytest.mark.parametrize(
    "use",
    [
        lambda app, entry: app.ask([entry], TOO_LONG).result(),
        lambda app, entry: app.locate(entry, TOO_LONG).result(),
        lambda app, entry: app.search(TOO_LONG).result(),
    ],
    ids=["ask", "locate", "search"],
)
def test_question_that_is_too_long_is_refused(
    app: Longview, twice: VideoEntry, use: Callable[[Longview, VideoEntry], object]
) -> None:
    with pytest.raises(InvalidQuestion, match="at most 2,000"):
        use(app, twice)


def test_empty_question_is_refused(app: Longview, twice: VideoEntry) -> None:
    with pytest.raises(InvalidQuestion, match="empty"):
        app.ask([], " ").result()
    with pytest.raises(InvalidQuestion, match="empty"):
        app.locate(twice, " \n").result()


def test_threads_load_the_checkpoint_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines: list[local.LocalEngine] = []
    load = local.LocalEngine.__init__

    def count_engines(self: local.LocalEngine, *args: object, **options: object) -> None:
        engines.append(self)
        load(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(local.LocalEngine, "__init__", count_engines)
    app = Longview(demo_settings(tmp_path / "library"))
    barrier, pools = threading.Barrier(3), list[SessionPool]()

    def use() -> None:
        barrier.wait()
        pools.append(app.parts.runtime.pool)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(engines) == 1 and pools == [pools[0]] * 3


def test_restart_keeps_all_data(app: Longview, twice: VideoEntry) -> None:
    app.ask([twice], "What happens at 17 seconds?").result()
    restarted = Longview(demo_settings(app.parts.library.folder))
    assert restarted.video(twice.video_id) == app.video(twice.video_id)
    assert restarted.segments(twice) == app.segments(twice) != ()
    assert restarted.search("green square").result() == app.search("green square").result()
    assert restarted.conversations.answers(twice) == app.conversations.answers(twice) != ()


def test_plan_counts_the_memory_of_a_second_checkpoint(app: Longview, short_path: Path) -> None:
    alone = app.plan(str(short_path)).frames
    both = Longview(app.settings.model_copy(update={"grounding_model": "demo"}))
    together = both.plan(str(short_path)).frames
    assert alone is not None and together is not None
    assert both.parts.runtime.grounding_checkpoint is not None and app.parts.runtime.grounding_checkpoint is None
    assert together.estimated_bytes > 1.5 * alone.estimated_bytes
