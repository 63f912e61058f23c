"""How long the speech of a video takes to recognise, from what a look at its sound has shown and this machine did before."""

from dataclasses import dataclass

from longview.app.ingest.media_look import SoundLook
from longview.app.runtime.machine_speeds import MachineSpeeds
from longview.model.speech.devices import SpeechDevice
from longview.model.speech.weights import BUNDLED_NAME

LOADING_S = 0.9
"""Time until the bundled model is loaded on the machine of reference, in seconds."""
CHUNK_S, SPEECH_S_PER_SECOND = 2.0, 0.06
"""Time to recognise a chunk with the bundled model there, in seconds: that of its encoding, whatever its length, and the time per
second of speech. (One thread; chunks of 3 to 29 s took 2.2 to 4.2 s.)"""
SOUND_S_PER_SECOND = 0.006
"""Time to decode a second of sound there and to find the speech in it, in seconds."""
MAX_THREADS, THREADS_GAIN = 4, 0.6
"""Maximum number of threads of the recognition where none is set, and the exponent by which they shorten it."""
TYPICAL_SOUND = SoundLook(chunks=1 / 30, speech=0.7)
"""Sound of which no part could be examined."""
SOUND_NAME = "sound"
"""Name of the speed of decoding and of the detection of speech."""


@dataclass(frozen=True)
class RunTimes:
    """Times of a run in seconds: to find the speech in the sound, and to recognise it."""

    heard_s: float
    recognized_s: float


class SpeechSpeeds:
    """The speeds of one model of speech on a device of this machine."""

    def __init__(self, speeds: MachineSpeeds, checkpoint: str, device: SpeechDevice) -> None:
        """`checkpoint`: identity of the model."""
        self._speeds = speeds
        self._is_bundled, self._is_on_cpu = checkpoint.startswith(f"{BUNDLED_NAME}@"), device == "cpu"
        self._loading_name = f"loading speech | {checkpoint}"
        self._name = f"speech | {checkpoint}" + ("" if self._is_on_cpu else f" | {device}")

    @property
    def is_known(self) -> bool:
        """Whether anything is known of the speed of the model."""
        return self._is_bundled or self._speeds.knows(self._name)

    def loading_s(self) -> float:
        """Return the expected time until the model is loaded, in seconds."""
        return LOADING_S * self._speeds.ratio(self._loading_name)

    def run_times(self, sound_s: float, look: SoundLook) -> RunTimes:
        """Return the expected times for so much sound, in seconds, by a look at it."""
        ratio = self._speeds.ratio(self._name, self._thread_ratio * self._speeds.machine_ratio)
        recognized_s = (look.chunks * CHUNK_S + look.speech * SPEECH_S_PER_SECOND) * ratio
        return RunTimes(sound_s * SOUND_S_PER_SECOND * self._speeds.ratio(SOUND_NAME), sound_s * recognized_s)

    def learn_loading(self, measured_s: float) -> None:
        """Keep what it took to load the model, in seconds."""
        self._speeds.learn_ratio(self._loading_name, measured_s, LOADING_S)

    def learn_recognition(self, measured_s: float, reference_s: float) -> None:
        """Keep what the recognition took, and what it would take on the machine of reference with one thread, in seconds."""
        cpu_ratio = self._thread_ratio if self._is_bundled and self._is_on_cpu else None
        self._speeds.learn_ratio(self._name, measured_s, reference_s, cpu_ratio=cpu_ratio)

    def learn_sound(self, measured_s: float, sound_s: float) -> None:
        """Keep what it took to find the speech in so much sound, in seconds."""
        self._speeds.learn_ratio(SOUND_NAME, measured_s, sound_s * SOUND_S_PER_SECOND, cpu_ratio=1.0)

    @property
    def _thread_ratio(self) -> float:
        """The time of the recognition with as many threads as it has here, as a multiple of that with one."""
        return float((self._speeds.threads or min(MAX_THREADS, self._speeds.cores)) ** -THREADS_GAIN)


def recognition_reference_s(speech_s: float) -> float:
    """Return the time to recognise a chunk of speech on the machine of reference with one thread, in seconds."""
    return CHUNK_S + SPEECH_S_PER_SECOND * speech_s
