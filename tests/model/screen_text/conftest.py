"""The bundled text models, loaded once."""

import pytest

from longview.model.screen_text.recognizer import TextRecognizer
from longview.model.screen_text.weights import find_text_model


@pytest.fixture(scope="session")
def recognizer() -> TextRecognizer:
    return TextRecognizer(find_text_model(), threads=1)
