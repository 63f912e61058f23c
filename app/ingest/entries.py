"""The library entry of a file that is indexed."""

from pathlib import Path

from longview.app.files.media import MediaStore
from longview.indexing.records.track import video_id_of
from longview.indexing.records.video import VideoEntry
from longview.video.probing.probe import VideoInfo
from longview.video.transcoding import is_browser_playable


def entry_of(media: MediaStore, video: VideoInfo, earlier_entry: VideoEntry | None, title: str | None) -> VideoEntry:
    """Return the entry of a file, with the summary and the title that the library has.

    `title`: that of a new video; by default the name of its file.
    """
    facts = {
        "width": video.width,
        "height": video.height,
        "fps": round(video.fps_nominal, 3),
        "codec": video.codec,
        "container": video.container,
        "has_audio": video.has_audio,
        "size_bytes": video.size_bytes,
        "browser_plays": is_browser_playable(video),
    }
    return VideoEntry(
        video_id=video_id_of(video.content_hash),
        content_hash=video.content_hash,
        path=earlier_entry.path if earlier_entry and media.keeps_path(earlier_entry, video.path) else video.path,
        title=earlier_entry.title if earlier_entry else title or _printable_name(video.path),
        duration_s=video.duration_s,
        facts=facts,
        summary=earlier_entry.summary if earlier_entry else "",
        chapters=earlier_entry.chapters if earlier_entry else (),
    )


def _printable_name(path: Path) -> str:
    # A file name may contain any character, also line breaks and escape sequences.
    return " ".join("".join(letter if letter.isprintable() else " " for letter in path.stem).split()) or "video"
