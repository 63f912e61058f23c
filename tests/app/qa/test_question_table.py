"""Every kind of question has an answer of its own kind, whose times are whole links, about four videos."""

import re
import shutil
from pathlib import Path

import pytest

from longview.app.evaluation.sounds import silence, write_wav
from longview.app.evaluation.word_material import FOLDER
from longview.app.ingest.options import IndexOptions
from longview.app.qa.quotes.questions import parse_question
from longview.app.service import Longview
from longview.core.time_text import parse_time
from longview.core.timeline import Span
from longview.indexing.records.video import VideoEntry
from longview.ui import markdown
from longview.video.synthetic import render
from tests.support.app_samples import RING as RING_EVENT
from tests.support.app_samples import demo_settings
from tests.support.barcodes import run_ffmpeg
from tests.support.library_samples import sample_track, shown, spoken
from tests.support.question_table import INTERVIEW, MEETING, RING, SLIDES, TABLE, Row

SLIDE_LINES = (
    ("Item 1 - Budget", "Open from July 1"),
    ("Item 2 - Water", "Nitrate 7.5 mg"),
    ("Item 3 - Parking", "Parking fine $80"),
    ("Item 4 - Library", "Meeting at 11:30"),
    ("Item 5 - Contact", "Write to info@harwick.example"),
)
SPOKEN = (
    (2.0, "My name is Deborah Miller. I work for the town.", "en"),
    (12.0, "The new pump costs $400,000 this year.", "en"),
    (17.0, "The old pump failed on 12 May 2024.", "en"),
    (25.0, "The pump on Upper Street is noisy.", "en"),
    (33.0, "We will repair it on Monday.", "en"),
    (60.0, "Nobody has to guess.", "en"),
    (76.0, "Das Wasser kostet vierzig Euro.", "de"),
    (82.0, "Die Nachbarn sind zufrieden.", "de"),
)
LINKED_TIME = re.compile(r"\[([^\]]+)\]\(#t=([\d.]+)(?:,[\d.]+)?\)")
TIME = re.compile(r"\d+:\d\d:\d\d")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Longview:
    return Longview(demo_settings(tmp_path_factory.mktemp("library")))


@pytest.fixture(scope="module")
def videos(app: Longview, tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoEntry]:
    """A meeting with subtitles, a silent film of slides, an interview in two languages, and a ring that the demo captions."""
    folder = tmp_path_factory.mktemp("videos")
    shutil.copy(FOLDER / "town_meeting.srt", folder / "meeting.en.srt")
    meeting = write_wav(folder / "meeting.wav", silence(910.0))
    interview = write_wav(folder / "interview.wav", silence(95.0))
    slides, ring = folder / "slides.mp4", folder / "ring.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "color=white:size=160x96:rate=1:duration=300", "-pix_fmt", "yuv420p", str(slides))
    render(ring, [RING_EVENT], 5.0, fps=5)
    entries = {
        MEETING: app.index(meeting, IndexOptions(sources=("subtitles",))).result().entry,
        INTERVIEW: app.index(interview, IndexOptions(sources=("subtitles",))).result().entry,
        SLIDES: app.index(slides, IndexOptions(sources=("subtitles",))).result().entry,
        RING: app.index(ring, IndexOptions(sources=("captions", "screen_text"))).result().entry,
    }
    tracks = app.parts.library.tracks
    lines = [
        shown(60.0 * number, 60.0 * (number + 1), text, top=0.2 + 0.2 * row)
        for number, texts in enumerate(SLIDE_LINES)
        for row, text in enumerate(texts)
    ]
    standing = shown(0.0, 300.0, "Harwick town council", top=0.9)
    screen = sample_track("screen_text", span=Span(0, 300), done_s=300.0, frames_read=300)
    tracks.replace(entries[SLIDES].video_id, screen, [standing, *lines])
    speech = sample_track("speech", span=Span(0, 95), done_s=95.0, language="en")
    segments = [spoken(start_s, text, language=code, word_s=1.0 if start_s == 60.0 else 0.4) for start_s, text, code in SPOKEN]
    tracks.replace(entries[INTERVIEW].video_id, speech, segments)
    return {name: app.parts.library.video(entry.video_id) for name, entry in entries.items()}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.video}-{row.kind}-{row.question}")
def test_question_has_an_answer_of_its_kind(app: Longview, videos: dict[str, VideoEntry], row: Row) -> None:
    answer = app.ask([videos[row.video]], row.question).result()
    assert answer.quoted
    says = row.says.removeprefix("…")
    assert says in answer.text if row.says.startswith("…") else answer.text.startswith(says)
    assert answer.found is row.found
    if row.kind not in ("content", "mentions"):
        assert "ot said or written" not in answer.text


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.video}-{row.kind}-{row.question}")
def test_times_of_an_answer_are_whole_and_linked(app: Longview, videos: dict[str, VideoEntry], row: Row) -> None:
    page = markdown.quotes(app.ask([videos[row.video]], row.question).result().text)
    for text, seconds in LINKED_TIME.findall(page):
        assert parse_time(text.partition(" –")[0]) == pytest.approx(float(seconds))
    outside = [line.partition("“")[0] for line in LINKED_TIME.sub("", page).splitlines()]
    assert not any(TIME.search(text) for text in outside)


def test_table_has_fifteen_kinds_and_six_languages() -> None:
    assert len(TABLE) >= 60
    assert len({row.kind for row in TABLE}) >= 15
    assert len({row.video for row in TABLE}) == 4


PARAPHRASES = (
    ("mentions", "How many times is the word “pump” said?"),
    ("mentions", "Combien de fois le mot pump est-il prononcé ?"),
    ("mentions", "¿Cuántas veces se dice la palabra pump?"),
    ("summary", "Worum geht's?"),
    ("summary", "Was ist der Inhalt des Videos?"),
    ("summary", "Quel est le sujet de la vidéo ?"),
    ("summary", "¿De qué habla el vídeo?"),
    ("summary", "이 영상은 무엇에 관한 것인가요?"),
    ("summary", "何が話されていますか？"),
    ("summary", "Describe the video"),
    ("summary", "What topics are covered?"),
    ("written", "この動画には何が書いてありますか？"),
    ("length", "영상 길이가 얼마나 돼요?"),
    ("looks", "What is the dog doing?"),
    ("looks", "Can you see a dog?"),
    ("content", "How many times was the road closed last year?"),
    ("content", "What points does the mayor make about parking?"),
    ("content", "What is the subject of the vote on water?"),
    ("before", "What did they say before Upper Street?"),
    ("time", "Was passiert zwischen 3:00 und 3:20?"),
    ("time", "Que se passe-t-il après 0:40 ?"),
    ("time", "3:00부터 3:20까지 뭐라고 해요?"),
    ("time", "3分20秒に何が映っていますか?"),
)
"""Questions in other words than those that the kinds were written for; a review asked them."""


@pytest.mark.parametrize(("kind", "text"), PARAPHRASES)
def test_question_in_other_words_has_its_kind(kind: str, text: str) -> None:
    assert parse_question(text).kind == kind


def test_library_is_asked_without_a_topic(app: Longview, videos: dict[str, VideoEntry]) -> None:
    answer = app.ask([], "List all prices.").result()
    assert {citation.video_id for citation in answer.citations} == {videos[name].video_id for name in (INTERVIEW, SLIDES)}
    page = markdown.quotes(answer.text, [(item.span, item.video_id) for item in answer.citations])
    assert f"[0:00:12.0 – 0:00:14.8](/watch?video={videos[INTERVIEW].video_id}&t=12.000)" in page
    assert f"[0:02:00.0 – 0:03:00.0](/watch?video={videos[SLIDES].video_id}&t=120.000)" in page


@pytest.mark.parametrize("question", ["the of a", "What is it?", "그것은 무엇인가요?"])
def test_library_is_not_searched_for_stop_words(app: Longview, videos: dict[str, VideoEntry], question: str) -> None:
    assert app.ask([], question).result().text.startswith("The question names nothing that could be looked for; ")


def test_library_of_several_videos_is_not_asked_about_a_time(app: Longview, videos: dict[str, VideoEntry]) -> None:
    assert app.ask([], "What is said at 0:20?").result().text.startswith("Every video has that time; ")


def test_answer_about_an_unfinished_video_says_how_far_it_is_known(app: Longview, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "running.wav", silence(100.0))
    entry = app.index(path, IndexOptions(sources=("subtitles",))).result().entry
    track = sample_track("speech", "incomplete", span=Span(0, 100), done_s=40.0, language="en")
    app.parts.library.tracks.replace(entry.video_id, track, [spoken(10.0, "The pump costs 30 euros.")])
    entry = app.parts.library.video(entry.video_id)
    assert (
        app.ask([entry], "List all prices.")
        .result()
        .text.endswith("(speech): “The pump costs 30 euros.”\nNot all of this video is known: listened only up to 0:00:40.0.")
    )
    later = app.ask([entry], "What is said at 1:20?").result()
    assert later.found is None and later.text.startswith("What is said and shown at 0:01:20.0 is not known: ")


def test_ten_thousand_lines_on_screen_are_listed_in_part(app: Longview, videos: dict[str, VideoEntry], tmp_path: Path) -> None:
    path = write_wav(tmp_path / "crawl.wav", silence(10.0))
    entry = app.index(path, IndexOptions(sources=("subtitles",))).result().entry
    lines = [shown(number * 0.001, number * 0.001 + 0.0005, f"line {number}") for number in range(10_000)]
    track = sample_track("screen_text", span=Span(0, 10), done_s=10.0, frames_read=10)
    app.parts.library.tracks.replace(entry.video_id, track, lines)
    answer = app.ask([app.parts.library.video(entry.video_id)], "What is written on the screen?").result()
    assert "more; the export of the text on screen has all of them." in answer.text
    assert len(answer.text) < 12_000
    numbers = app.ask([app.parts.library.video(entry.video_id)], "List all numbers.").result()
    assert len(numbers.text) < 20_000 and "… and 9,900 more." in numbers.text


LANGUAGES = ("en", "de", "fr", "es", "ko", "ja")
TOPICS = {"bridge", "Brücke", "pont", "puente", "다리", "橋", "vote", "Abstimmung", "votación", "투표", "投票"}
QUESTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("list", "prices"): (
        "List all prices mentioned.",
        "Nenne alle Preise.",
        "Liste tous les prix mentionnés.",
        "¿Qué precios se mencionan?",
        "언급된 모든 가격을 알려줘",
        "言及された価格をすべて教えてください",
    ),
    ("list", "dates"): (
        "Which dates are mentioned?",
        "Welche Daten werden genannt?",
        "Quelles dates sont mentionnées ?",
        "Lista todas las fechas.",
        "어떤 날짜가 언급되나요?",
        "どんな日付が出てきますか?",
    ),
    ("list", "names"): (
        "What names are mentioned?",
        "Welche Namen werden erwähnt?",
        "Quels noms sont cités ?",
        "¿Qué nombres aparecen?",
        "어떤 이름이 나오나요?",
        "どんな人名が出てきますか?",
    ),
    ("list", "numbers"): (
        "List every number in the video.",
        "Liste alle Zahlen auf.",
        "Quels chiffres sont donnés ?",
        "Lista todos los números.",
        "모든 숫자를 나열해 주세요",
        "数字をすべて挙げてください",
    ),
    ("list", "emails"): (
        "List all e-mail addresses.",
        "Welche E-Mail-Adressen gibt es?",
        "Quelles adresses e-mail sont mentionnées ?",
        "¿Qué correos electrónicos aparecen?",
        "이메일 주소를 모두 알려줘",
        "メールアドレスを一覧にしてください",
    ),
    ("languages", ""): (
        "What languages are spoken?",
        "Welche Sprachen werden gesprochen?",
        "Quelles langues sont parlées ?",
        "¿Qué idiomas se hablan?",
        "어떤 언어로 말하나요?",
        "何語で話していますか?",
    ),
    ("speakers", ""): (
        "Who is speaking?",
        "Wer spricht?",
        "Qui parle ?",
        "¿Quién habla?",
        "누가 말하고 있나요?",
        "誰が話していますか?",
    ),
    ("written", ""): (
        "What text is on the screen?",
        "Was steht auf dem Bildschirm?",
        "Qu'est-ce qui est écrit à l'écran ?",
        "¿Qué está escrito en la pantalla?",
        "화면에 무엇이 적혀 있나요?",
        "画面に何が書かれていますか?",
    ),
    ("seen", ""): (
        "What is shown?",
        "Was ist zu sehen?",
        "Qu'est-ce qu'on voit ?",
        "¿Qué se ve en el vídeo?",
        "무엇이 보이나요?",
        "何が映っていますか?",
    ),
    ("summary", ""): (
        "What is it about?",
        "Worum geht es?",
        "De quoi s'agit-il ?",
        "¿De qué trata?",
        "무슨 내용이야?",
        "何についての動画ですか?",
    ),
    ("length", ""): (
        "How long is the video?",
        "Wie lang ist das Video?",
        "Quelle est la durée de la vidéo ?",
        "¿Cuánto dura el vídeo?",
        "영상이 얼마나 길어요?",
        "動画の長さはどのくらいですか?",
    ),
    ("mentions", "topic"): (
        "How many times is the bridge mentioned?",
        "Wie oft wird die Brücke erwähnt?",
        "Combien de fois le pont est-il mentionné ?",
        "¿Cuántas veces se menciona el puente?",
        "다리는 몇 번 언급되나요?",
        "橋は何回言及されますか?",
    ),
    ("after", "topic"): (
        "What happens after the vote?",
        "Was passiert nach der Abstimmung?",
        "Que se passe-t-il après le vote ?",
        "¿Qué pasa después de la votación?",
        "투표 후에 무슨 일이 일어나나요?",
        "投票の後に何が起こりますか?",
    ),
    ("before", "topic"): (
        "What happens before the vote?",
        "Was passiert vor der Abstimmung?",
        "Que se passe-t-il avant le vote ?",
        "¿Qué pasa antes de la votación?",
        "투표 전에 무슨 일이 일어나나요?",
        "投票の前に何が起こりますか?",
    ),
    ("looks", ""): (
        "What colour is the car?",
        "Welche Farbe hat das Auto?",
        "De quelle couleur est la voiture ?",
        "¿De qué color es el coche?",
        "자동차는 무슨 색이에요?",
        "車は何色ですか?",
    ),
    ("time", "said"): (
        "What is said at 9:10?",
        "Was wird bei 9:10 gesagt?",
        "Que dit-on à 9:10 ?",
        "¿Qué se dice a las 9:10?",
        "9:10에 뭐라고 말해요?",
        "9:10に何と言っていますか?",
    ),
    ("time", "shown"): (
        "What is shown at 9:10?",
        "Was wird bei 9:10 gezeigt?",
        "Que voit-on à 9:10 ?",
        "¿Qué se ve a las 9:10?",
        "9:10에 화면에 뭐가 보여요?",
        "9:10に何が映っていますか?",
    ),
    ("content", ""): (
        "Who pays for the school?",
        "Wer bezahlt die Schule?",
        "Qui paie l'école ?",
        "¿Quién paga la escuela?",
        "학교 비용은 누가 내나요?",
        "学校の費用は誰が払いますか?",
    ),
    ("content", "topic"): (
        "What is the price of the pipes?",
        "Was ist der Preis der Rohre?",
        "Quel est le prix des tuyaux ?",
        "¿Cuál es el precio de los tubos?",
        "파이프의 가격은 얼마예요?",
        "パイプの値段はいくらですか?",
    ),
}


@pytest.mark.parametrize(
    ("kind", "detail", "text"),
    [
        pytest.param(kind, detail, text, id=f"{kind}-{detail}-{language}")
        for (kind, detail), texts in QUESTIONS.items()
        for language, text in zip(LANGUAGES, texts, strict=True)
    ],
)
def test_question_of_each_language_has_its_kind(kind: str, detail: str, text: str) -> None:
    parsed = parse_question(text)
    assert parsed.kind == kind
    if kind == "list":
        assert parsed.lists == (detail,)
    elif kind == "time":
        assert parsed.aspect == detail
    elif kind in ("mentions", "before", "after"):
        assert parsed.topic in TOPICS


def test_what_is_said_and_written_at_one_time_is_counted_by_kind_and_told_once(app: Longview, tmp_path: Path) -> None:
    """A second mention at the same time would say that nothing comes before it, although that stands above."""
    entry = app.index(write_wav(tmp_path / "talk.wav", silence(90.0)), IndexOptions(sources=("subtitles",))).result().entry
    tracks = app.parts.library.tracks
    lines = [shown(0.0, 30.0, "Item 1 - Roll call"), shown(30.0, 60.0, "Item 2 - Budget")]
    tracks.replace(entry.video_id, sample_track("screen_text", span=Span(0, 90), done_s=90.0, frames_read=90), lines)
    segments = [spoken(2.0, "All members are present."), spoken(32.0, "The budget is large.")]
    tracks.replace(entry.video_id, sample_track("speech", span=Span(0, 90), done_s=90.0, language="en"), segments)
    entry = app.parts.library.video(entry.video_id)
    assert (
        app.ask([entry], "How many times is the budget mentioned?")
        .result()
        .text.startswith("“budget” is mentioned 2 times (said once, written once):\n")
    )
    before = app.ask([entry], "What happens before the budget?").result().text
    assert before.count("Before it:") == 1 and "Roll call" in before and "present" in before and "Nothing else" not in before
