"""The documents that programs read: what `--json` prints. Times are in seconds on the video's clock, and also as text."""

from typing import TYPE_CHECKING

from longview.core.lazy import lazy_names

if TYPE_CHECKING:
    from longview.app.schemas.answers import (
        AskDocument,
        CitationOut,
        ConversationDocument,
        EvidenceOut,
        FailedAnswerOut,
        LocateDocument,
        MomentOut,
        OccurrenceOut,
        SearchDocument,
    )
    from longview.app.schemas.base import CoverageOut, ErrorDocument, ErrorOut, ProvenanceOut, SpanOut, rounded
    from longview.app.schemas.files import (
        BackupDocument,
        CheckDocument,
        ContactSheetDocument,
        CutDocument,
        DoctorDocument,
        EvalDocument,
        ExportDocument,
        FindingOut,
        RelinkDocument,
        RestoreDocument,
    )
    from longview.app.schemas.indexing import (
        DamageOut,
        FailedVideoOut,
        IndexDocument,
        IndexedVideoOut,
        InfoDocument,
        ListDocument,
        RemoveDocument,
        RenameDocument,
        SourceOut,
        TrackOut,
        UndoRemovalDocument,
        VideoBytesOut,
        VideoOut,
        video_fields,
    )
    from longview.app.schemas.jobs import JobOut, JobsDocument
    from longview.app.schemas.models import (
        DefaultOut,
        DefaultsDocument,
        LocalModelOut,
        ModelsDocument,
        PullDocument,
        PulledModelOut,
        RecommendationOut,
        RemoveModelDocument,
    )
    from longview.app.schemas.plans import CostOut, CostsOut, FramePlanOut, PlanDocument, PlannedSourceOut, PlanOut, WindowOut
    from longview.app.schemas.tracks import (
        CaptionDocument,
        ChapterOut,
        ChaptersDocument,
        EventOut,
        SegmentOut,
        SubtitlesDocument,
        TranscriptDocument,
        VersionOut,
        VersionsDocument,
        WordOut,
    )
    from longview.app.schemas.uploads import CompleteUploadDocument, UploadOut, UploadsDocument

__all__ = [
    "AskDocument",
    "BackupDocument",
    "CaptionDocument",
    "ChapterOut",
    "ChaptersDocument",
    "CheckDocument",
    "CitationOut",
    "CompleteUploadDocument",
    "ContactSheetDocument",
    "ConversationDocument",
    "CostOut",
    "CostsOut",
    "CoverageOut",
    "CutDocument",
    "DamageOut",
    "DefaultOut",
    "DefaultsDocument",
    "DoctorDocument",
    "ErrorDocument",
    "ErrorOut",
    "EvalDocument",
    "EventOut",
    "EvidenceOut",
    "ExportDocument",
    "FailedAnswerOut",
    "FailedVideoOut",
    "FindingOut",
    "FramePlanOut",
    "IndexDocument",
    "IndexedVideoOut",
    "InfoDocument",
    "JobOut",
    "JobsDocument",
    "ListDocument",
    "LocalModelOut",
    "LocateDocument",
    "ModelsDocument",
    "MomentOut",
    "OccurrenceOut",
    "PlanDocument",
    "PlanOut",
    "PlannedSourceOut",
    "ProvenanceOut",
    "PullDocument",
    "PulledModelOut",
    "RecommendationOut",
    "RelinkDocument",
    "RemoveDocument",
    "RemoveModelDocument",
    "RenameDocument",
    "RestoreDocument",
    "SearchDocument",
    "SegmentOut",
    "SourceOut",
    "SpanOut",
    "SubtitlesDocument",
    "TrackOut",
    "TranscriptDocument",
    "UndoRemovalDocument",
    "UploadOut",
    "UploadsDocument",
    "VersionOut",
    "VersionsDocument",
    "VideoBytesOut",
    "VideoOut",
    "WindowOut",
    "WordOut",
    "rounded",
    "video_fields",
]

__getattr__ = lazy_names(
    __name__,
    {
        "longview.app.schemas.answers": (
            "AskDocument", "CitationOut", "ConversationDocument", "EvidenceOut", "FailedAnswerOut", "LocateDocument",
            "MomentOut", "OccurrenceOut", "SearchDocument",
        ),
        "longview.app.schemas.base": (
            "CoverageOut", "ErrorDocument", "ErrorOut", "ProvenanceOut", "SpanOut", "rounded",
        ),
        "longview.app.schemas.files": (
            "BackupDocument", "CheckDocument", "ContactSheetDocument", "CutDocument", "DoctorDocument", "EvalDocument",
            "ExportDocument", "FindingOut", "RelinkDocument", "RestoreDocument",
        ),
        "longview.app.schemas.indexing": (
            "DamageOut", "FailedVideoOut", "IndexDocument", "IndexedVideoOut", "InfoDocument", "ListDocument",
            "RemoveDocument", "RenameDocument", "SourceOut", "TrackOut", "UndoRemovalDocument", "VideoBytesOut", "VideoOut",
            "video_fields",
        ),
        "longview.app.schemas.jobs": (
            "JobOut", "JobsDocument",
        ),
        "longview.app.schemas.models": (
            "DefaultOut", "DefaultsDocument", "LocalModelOut", "ModelsDocument", "PullDocument", "PulledModelOut",
            "RecommendationOut", "RemoveModelDocument",
        ),
        "longview.app.schemas.plans": (
            "CostOut", "CostsOut", "FramePlanOut", "PlanDocument", "PlannedSourceOut", "PlanOut", "WindowOut",
        ),
        "longview.app.schemas.tracks": (
            "CaptionDocument", "ChapterOut", "ChaptersDocument", "EventOut", "SegmentOut", "SubtitlesDocument",
            "TranscriptDocument", "VersionOut", "VersionsDocument", "WordOut",
        ),
        "longview.app.schemas.uploads": (
            "CompleteUploadDocument", "UploadOut", "UploadsDocument",
        ),
    },
)  # fmt: skip
