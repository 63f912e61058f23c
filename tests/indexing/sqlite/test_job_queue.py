"""The queue: leases end with their processes, one content is indexed once at a time, and nothing is lost or run twice."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from longview.core.processes import is_running, this_process
from longview.indexing.errors import UnknownJob
from longview.indexing.records.job import BATCH, PERSON, QueuedJob
from longview.indexing.sqlite.database.database import Database
from longview.indexing.sqlite.library import Library
from longview.indexing.sqlite.queue.job_queue import JobQueue
from tests.support.library_samples import sample_entry, sample_track, spoken

NAME = "from longview.core.processes import this_process; import sys; print(this_process(), flush=True); sys.stdin.read()"


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return Library(tmp_path / "library").queue


@contextmanager
def another_process() -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Start a process, and yield its name and itself; end it in the end."""
    with subprocess.Popen([sys.executable, "-c", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdin
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.stdin.close()


def add(queue: JobQueue, name: str, **values: Any) -> QueuedJob:
    known: dict[str, Any] = {"title": name, "options": {}, "settings": {}, "priority": BATCH}
    return queue.add(Path("/videos", name), **known | values)


def claim_all(queue: JobQueue, settings: dict[str, Any] | None = None) -> list[str]:
    """Return the titles of all jobs that this process gets, in order."""
    jobs = iter(lambda: queue.claim_next(this_process(), settings or {}), None)
    return [job.title for job in jobs]


def test_lease_of_a_killed_process_ends_at_once(queue: JobQueue) -> None:
    job = add(queue, "a")
    with another_process() as (name, process):
        assert is_running(name) and name != this_process()
        assert queue.claim(job.job_id, name).owner == name
        assert queue.claim_next(this_process(), {}) is None
        assert queue.claim(job.job_id, this_process()).owner == name
        process.kill()
        process.wait()
        assert not is_running(name)
        # Who only reads sees it, too.
        assert [each.status for each in queue.jobs()] == ["waiting"]
    taken = queue.claim_next(this_process(), {})
    assert taken is not None and (taken.job_id, taken.attempts) == (job.job_id, 2)


def test_a_job_may_differ_from_its_process_only_in_free_settings(queue: JobQueue) -> None:
    add(queue, "a", settings={"speech_language": "de"})
    add(queue, "b", settings={"speech_language": "de", "model": "another"})
    add(queue, "c", settings={"model": "own"})

    def claimed() -> str | None:
        job = queue.claim_next(this_process(), {"model": "own", "speech_language": "ko"}, free_settings=("speech_language",))
        return job.title if job else None

    assert [claimed(), claimed()] == ["c", None]
    job = queue.claim_next(this_process(), {}, free_settings=("speech_language",))
    assert job is not None and job.title == "a"
    assert claim_all(queue) == []


def crash(queue: JobQueue, job: QueuedJob) -> None:
    """Let a process take a job, and end without a word."""
    with another_process() as (name, process):
        assert queue.claim(job.job_id, name).owner == name
        process.kill()
        process.wait()


def test_job_that_ends_its_process_twice_without_progress_is_not_taken_a_third_time(queue: JobQueue, tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    entry = library.put(sample_entry("a" * 12))
    job = add(queue, "a", content_hash=entry.content_hash)
    crash(queue, job)
    library.tracks.begin(entry.video_id, sample_track("speech", "incomplete", done_s=0.0))
    with another_process() as (name, process):
        assert queue.claim(job.job_id, name).owner == name
        # What was found meanwhile is kept, so the job comes further with each run.
        library.tracks.append(entry.video_id, sample_track("speech", "incomplete"), [spoken(3.0, "a word")], after_s=0.0)
        process.kill()
        process.wait()
    crash(queue, job)
    assert queue.claim_next(this_process(), {}) is None
    failed = queue.job(job.job_id)
    assert (failed.status, failed.error_code) == ("failed", "crashed") and f"longview jobs retry {job.job_id}" in failed.reason
    # Who follows a folder adds it again; a person does so, too, and means it.
    assert add(queue, "a", content_hash=entry.content_hash).status == "failed"
    assert add(queue, "a", content_hash=entry.content_hash, priority=PERSON).status == "waiting"
    crash(queue, job)
    assert queue.retry(job.job_id).crashes == 1 and queue.claim_next(this_process(), {}) is not None


@pytest.mark.parametrize(("request_", "status"), [("pause", "paused"), ("cancel", "cancelled")])
def test_request_is_kept_if_the_process_is_killed_before_it_obeys(queue: JobQueue, request_: str, status: str) -> None:
    job = add(queue, "a")
    with another_process() as (name, process):
        queue.claim(job.job_id, name)
        asked = queue.pause(job.job_id) if request_ == "pause" else queue.cancel(job.job_id)
        assert (asked.status, asked.request) == ("running", request_)
        assert queue.request(job.job_id, name) == request_
        process.kill()
        process.wait()
    assert queue.claim_next(this_process(), {}) is None
    assert queue.job(job.job_id).status == status


def test_process_id_that_another_process_has_got_is_not_the_owner() -> None:
    machine, boot, pid, start = json.loads(this_process())
    assert is_running(this_process()) and not is_running(json.dumps([machine, boot, pid, start - 60]))
    # After the machine was started again, all processes of before are gone.
    assert not is_running(json.dumps([machine, "an earlier boot", pid, start]))
    assert not is_running("") and not is_running("no name") and not is_running(json.dumps([machine, boot, -5, 0]))


def test_lease_on_another_machine_ends_some_time_after_its_last_report(queue: JobQueue, tmp_path: Path) -> None:
    job = add(queue, "a")
    elsewhere = json.dumps(["elsewhere", "boot", 1, 0.0])
    queue.claim(job.job_id, elsewhere)
    assert queue.claim_next(this_process(), {}) is None
    with Database(tmp_path / "library").transaction() as db:
        db.execute("UPDATE jobs SET changed_at = '2026-01-01T00:00:00+00:00'")
    taken = queue.claim_next(this_process(), {})
    assert taken is not None and taken.job_id == job.job_id
    # The other machine finds out that the job is no longer its own, and stores nothing more.
    values: dict[str, Any] = {"stage": "Captioning", "fraction": 0.9, "seconds_left": None, "partial_results": 9}
    assert queue.report(job.job_id, elsewhere, **values) == "cancel"
    queue.end(job.job_id, elsewhere, "done")
    assert (queue.job(job.job_id).status, queue.job(job.job_id).fraction) == ("running", 0.0)


def test_jobs_run_by_priority_and_in_the_order_that_was_chosen(queue: JobQueue) -> None:
    names = ["a", "b", "c", "d"]
    jobs = {name: add(queue, name, priority=PERSON if name == "c" else BATCH) for name in names}
    queue.move_first(jobs["d"].job_id)
    assert [job.title for job in queue.jobs()] == ["d", "c", "a", "b"]
    queue.pause(jobs["a"].job_id)
    assert claim_all(queue) == ["d", "c", "b"]
    queue.retry(jobs["a"].job_id)
    assert claim_all(queue) == ["a"]
    with pytest.raises(UnknownJob, match="no job 99"):
        queue.cancel(99)


def test_one_file_is_one_job_until_it_has_succeeded(queue: JobQueue) -> None:
    job = add(queue, "a", content_hash="f" * 40)
    assert add(queue, "a").job_id == job.job_id
    # The same content under another name, and with other options.
    assert add(queue, "copy", content_hash="f" * 40).job_id == job.job_id
    assert add(queue, "a", options={"sources": ["speech"]}).job_id != job.job_id
    assert add(queue, "a", settings={"model": "x"}).job_id != job.job_id
    queue.claim(job.job_id, this_process())
    queue.end(job.job_id, this_process(), "failed", reason="The disk is full.", error_code="no_space")
    again = add(queue, "a", priority=PERSON, content_hash="f" * 40)
    assert (again.job_id, again.status, again.reason, again.priority) == (job.job_id, "waiting", "The disk is full.", PERSON)
    queue.claim(job.job_id, this_process())
    queue.end(job.job_id, this_process(), "done", reason="3 events")
    assert add(queue, "a", content_hash="f" * 40).job_id != job.job_id


def test_one_content_is_indexed_once_at_a_time(queue: JobQueue) -> None:
    first, second = add(queue, "a"), add(queue, "copy")
    assert claim_all(queue) == ["a", "copy"]
    assert queue.identify(first.job_id, "f" * 40)
    # The second turns out to be the same content, and waits until the first has ended.
    assert not queue.identify(second.job_id, "f" * 40)
    assert queue.job(second.job_id).status == "waiting"
    assert queue.claim(second.job_id, this_process()).status == "waiting"
    queue.end(first.job_id, this_process(), "done")
    assert queue.claim(second.job_id, this_process()).status == "running"


def test_job_with_settings_of_its_own_waits_for_a_process_that_has_them(queue: JobQueue) -> None:
    add(queue, "a", settings={"model": "large"})
    add(queue, "b")
    assert claim_all(queue, {"language": "de"}) == ["b"]
    assert claim_all(queue, {"model": "large"}) == ["a"]


def test_file_of_one_process_is_not_taken_by_others(queue: JobQueue) -> None:
    with another_process() as (name, process):
        own = add(queue, "a", owner=name)
        assert claim_all(queue) == []
        assert queue.claim(own.job_id, name).status == "running"
        process.kill()
        process.wait()
    assert claim_all(queue) == ["a"]


def test_many_workers_take_each_job_once(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    names = [f"file-{number}" for number in range(24)]
    queue = Library(folder).queue
    for name in names:
        add(queue, name)
    with ThreadPoolExecutor(4) as pool:
        taken = pool.map(lambda _: claim_all(Library(folder).queue), range(4))
        assert sorted(title for titles in taken for title in titles) == sorted(names)


def test_ended_jobs_are_deleted_after_a_while(queue: JobQueue, tmp_path: Path) -> None:
    ended, waiting = add(queue, "a"), add(queue, "b")
    queue.cancel(ended.job_id)
    assert queue.delete_ended(older_than_s=3600) == 0
    with Database(tmp_path / "library").transaction() as db:
        db.execute("UPDATE jobs SET changed_at = '2026-01-01T00:00:00+00:00'")
    assert queue.delete_ended(older_than_s=3600) == 1
    assert [job.job_id for job in queue.jobs()] == [waiting.job_id]


def test_request_that_is_withdrawn_or_stronger_decides_how_a_stopped_job_ends(queue: JobQueue) -> None:
    def stop(*changes: Callable[[int], object]) -> str | None:
        job = add(queue, "a")
        queue.claim(job.job_id, this_process())
        for change in changes:
            change(job.job_id)
        return queue.end(job.job_id, this_process(), "waiting", is_stopped=True)

    assert stop(queue.pause, queue.retry) == "waiting"
    assert stop(queue.cancel, queue.pause) == "cancelled"
    assert stop(queue.pause) == "paused"
    # A file that is added again while its job is being cancelled is not lost.
    job = queue.retry(add(queue, "a").job_id)
    queue.claim(job.job_id, this_process())
    queue.cancel(job.job_id)
    assert add(queue, "a").job_id != job.job_id
    # One that failed or came to its end while it was being cancelled is cancelled, because who asked was told so.
    assert queue.end(job.job_id, this_process(), "failed", reason="It was removed.") == "cancelled"
    last = add(queue, "a")
    queue.claim(last.job_id, this_process())
    queue.cancel(last.job_id)
    assert queue.end(last.job_id, this_process(), "done", reason="captions: 3 events") == "cancelled"
    assert queue.job(last.job_id).reason == "It was cancelled when all of it was done; what was found is in the library."


def test_only_the_own_files_are_paused_while_another_process_runs_jobs(queue: JobQueue) -> None:
    names = {name: add(queue, name).job_id for name in ("own", "theirs", "waiting")}
    queue.claim(names["own"], this_process())
    with another_process() as (name, process):
        queue.claim(names["theirs"], name)
        queue.pause_all(owner=this_process(), reason="It was stopped.", with_unowned=True)
        requests = {job.title: (job.status, job.request) for job in queue.jobs()}
        assert requests == {"own": ("running", "pause"), "theirs": ("running", ""), "waiting": ("waiting", "")}
        process.kill()
        process.wait()
    queue.pause_all(owner=this_process(), reason="It was stopped.", with_unowned=True)
    assert {job.title: job.status for job in queue.jobs()} == {"own": "running", "theirs": "paused", "waiting": "paused"}


def test_number_that_no_job_can_have_is_an_unknown_job(queue: JobQueue) -> None:
    for number in (0, -1, 1 << 63, 1 << 70):
        with pytest.raises(UnknownJob):
            queue.cancel(number)
