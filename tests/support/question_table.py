"""Questions of all kinds about four videos: the kind of each, what its answer must say, and whether it is found."""

from typing import NamedTuple


class Row(NamedTuple):
    """A question about one video, and its answer."""

    video: str
    kind: str
    question: str
    says: str
    """Beginning of the answer, or a text in it after `…`."""
    found: bool | None


MEETING, SLIDES, INTERVIEW, RING = "meeting", "slides", "interview", "ring"
NEEDS_SIGHT = "…This would need a checkpoint that sees; the command longview models names one for this machine."

TABLE = (
    # What is asked about a time.
    Row(INTERVIEW, "time", "What is said at 0:03?", "Said at 0:00:03.0:\n0:00:02.0 – ", True),
    Row(INTERVIEW, "time", "What is said at 0:11?", "Said at 0:00:11.0:\n0:00:12.0 – ", True),
    Row(INTERVIEW, "time", "What is said at 1:10?", "Nothing is said between 0:01:04.0 and 0:01:16.0.\n", False),
    Row(INTERVIEW, "time", "Was wird bei 1:10 gesagt?", "…Before it: “Nobody has to guess.”\n0:01:16.0 – ", False),
    Row(INTERVIEW, "time", "1:10에 뭐라고 말해요?", "…After it: “Das Wasser kostet vierzig Euro.”", False),
    Row(
        SLIDES,
        "time",
        "What is shown at 2:30?",
        "Shown at 0:02:30.0:\n0:02:00.0 – 0:03:00.0  screen text: “Item 3 - Parking / ",
        True,
    ),
    Row(SLIDES, "time", "What is written on the screen between 3:00 and 3:20?", "…“Item 4 - Library", True),
    Row(SLIDES, "time", "Que voit-on à 2:30 ?", "…most of the time: “Harwick town council”", True),
    Row(MEETING, "time", "What is said after 15:05?", "Nothing is said between 0:15:01.7 and 0:15:10.0.\n", False),
    # When, where and how often something is mentioned.
    Row(MEETING, "mentions", "When is the fire brigade mentioned?", "“fire brigade” is mentioned ", True),
    Row(
        MEETING,
        "mentions",
        "When is the vaccination mentioned?",
        "“vaccination” is not said or written in this video: read ",
        False,
    ),
    Row(INTERVIEW, "count", "How many times is the pump mentioned?", "“pump” is mentioned 3 times:\n", True),
    Row(INTERVIEW, "count", "¿Cuántas veces se menciona pump?", "“pump” is mentioned 3 times:\n", True),
    Row(INTERVIEW, "count", "pump는 몇 번 언급되나요?", "“pump” is mentioned 3 times:\n", True),
    Row(SLIDES, "count", "How often is parking shown?", "“parking” is mentioned 2 times:\n", True),
    # Prices, dates, names, numbers, addresses.
    Row(INTERVIEW, "prices", "List all prices mentioned.", "Prices that are said or written, 2 in all:\n0:00:12.0 – ", True),
    Row(
        INTERVIEW,
        "prices",
        "言及された価格をすべて教えてください",
        "…vierzig Euro (speech): “Das Wasser kostet vierzig Euro.”",
        True,
    ),
    Row(SLIDES, "prices", "Which prices are on the slides?", "…$80 (screen text): “Parking fine $80”", True),
    Row(RING, "prices", "List all prices.", "No prices are said or written in this video: read the text of ", False),
    Row(INTERVIEW, "dates", "Which dates are mentioned?", "Dates that are said or written, 2 in all:\n", True),
    Row(SLIDES, "dates", "Lista todas las fechas.", "…July 1 (screen text): “Open from July 1”", True),
    Row(INTERVIEW, "names", "What names are mentioned?", "…Deborah Miller (speech): “", True),
    Row(INTERVIEW, "names", "Quels noms sont cités ?", "…Upper Street", True),
    Row(SLIDES, "numbers", "List all numbers.", "…7.5 (screen text): “Nitrate 7.5 mg”", True),
    Row(INTERVIEW, "numbers", "모든 숫자를 나열해 주세요", "…vierzig (speech): “", True),
    Row(
        SLIDES,
        "e-mail",
        "List all e-mail addresses.",
        "E-mail addresses that are said or written, 1 in all:\n0:04:00.0 – 0:05:00.0  info@harwick.example (screen text): “",
        True,
    ),
    Row(
        INTERVIEW,
        "e-mail",
        "Welche E-Mail-Adressen gibt es?",
        "No e-mail addresses are said or written in this video: listened ",
        False,
    ),
    # Languages and speakers.
    Row(INTERVIEW, "languages", "What languages?", "0:00:02.0 – 0:00:06.0  English is spoken, 0:19 in all: “", True),
    Row(INTERVIEW, "languages", "Welche Sprachen werden gesprochen?", "…German is spoken, 0:03 in all: “Das Wasser ", True),
    Row(MEETING, "languages", "何語で話していますか?", "…English in subtitles, 153 in all: “", True),
    Row(
        RING, "languages", "What languages are spoken?", "No language is known of anything said or written in this video: ", None
    ),
    Row(INTERVIEW, "speakers", "Who is speaking?", "Who is speaking is not known: voices are not told apart here. These ", None),
    Row(INTERVIEW, "speakers", "Qui parle ?", "…“My name is Deborah Miller.”", None),
    Row(SLIDES, "speakers", "Who is speaking?", "This video has no sound.", None),
    Row(MEETING, "speakers", "누가 말하고 있나요?", "Who is speaking is not known: voices are not told apart here.", None),
    # What is written, and what is seen.
    Row(
        SLIDES,
        "written",
        "What text is on the screen?",
        "Written on the screen:\n0:00:00.0 – 0:01:00.0  screen text: “Item 1 - Budget / ",
        True,
    ),
    Row(SLIDES, "written", "Was steht auf dem Bildschirm?", "…most of the time: “Harwick town council”", True),
    Row(SLIDES, "written", "画面に何が書かれていますか?", "Written on the screen:\n", True),
    Row(
        RING,
        "written",
        "What is written on the screen?",
        "Nothing is written on the screen in this video: read the text of ",
        False,
    ),
    Row(SLIDES, "seen", "What is shown?", "What the pictures show was not looked at.\nWritten on the screen:\n", None),
    Row(SLIDES, "seen", "¿Qué se ve en el vídeo?", NEEDS_SIGHT, None),
    Row(RING, "seen", "What is shown?", "Seen, as the captions tell:\n", True),
    Row(MEETING, "seen", "What can be seen?", "This file has sound only, and no pictures.", None),
    Row(SLIDES, "looks", "What colour is the car?", "Words do not tell what the pictures show.", None),
    Row(SLIDES, "looks", "Was trägt der Bürgermeister?", NEEDS_SIGHT, None),
    Row(MEETING, "looks", "How many people are in the video?", "Words do not tell what the pictures show.", None),
    # The whole.
    Row(
        MEETING,
        "summary",
        "What is it about?",
        "Its parts, divided where the topic shifts, with a quote from each:\n0:00:00.0 – ",
        True,
    ),
    Row(
        SLIDES,
        "summary",
        "Worum geht es?",
        "Its parts, divided where the topic shifts, with a quote from each:\n0:00:00.0 – ",
        True,
    ),
    Row(
        INTERVIEW,
        "summary",
        "무슨 내용이야?",
        "Its parts, divided where the topic shifts, with a quote from each:\n0:00:00.0 – ",
        True,
    ),
    Row(MEETING, "length", "How long is the video?", "It is 15:10 long.", True),
    Row(SLIDES, "length", "動画の長さはどのくらいですか?", "It is 5:00 long.", True),
    # What comes before and after something.
    Row(INTERVIEW, "after", "What happens after the pump?", "…After it:\n0:00:17.0 – ", True),
    Row(INTERVIEW, "after", "What is said after Upper Street?", "…After it:\n", True),
    Row(INTERVIEW, "before", "What happens before Upper Street?", "…\nBefore it:\n0:00:04.0 – ", True),
    Row(SLIDES, "after", "Was passiert nach Parking?", "…After it:\n0:03:00.0 – 0:04:00.0  screen text: “Item 4 - Library", True),
    Row(SLIDES, "before", "What comes before the library?", "…“Item 3 - Parking", True),
    # Everything else, and nothing at all.
    Row(MEETING, "content", "Who offered to prepare the application for the money?", "…Deborah", True),
    Row(
        MEETING,
        "content",
        "Which Nobel laureate discovered Penicillin at Oxford?",
        "Not said or written in this video: read ",
        False,
    ),
    Row(INTERVIEW, "content", "What does the pump cost?", "…400,000", True),
    Row(INTERVIEW, "nothing", "What is it with them?", "The question names nothing that could be looked for; ", None),
    Row(MEETING, "nothing", "When is it mentioned?", "The question names nothing that could be looked for; ", None),
)
