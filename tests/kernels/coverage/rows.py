"""Every configuration of the coverage table, by heading."""

from importlib.util import find_spec

from tests.kernels.coverage.adapters import ADAPTERS, Adapter
from tests.kernels.coverage.architecture import Architecture
from tests.kernels.coverage.images import IMAGES
from tests.kernels.coverage.other_modalities import SERIES, SOUND, TEXT_WITH_IMAGES, VIDEO
from tests.kernels.coverage.text_decoders import DECODERS, MIXTURES, STATES
from tests.kernels.coverage.text_encoders import ENCODERS, ENCODERS_WITH_DECODERS

Case = Architecture | Adapter

ADAPTED = "Adapters of PEFT"
HEADINGS: dict[str, list[Case]] = {
    "Text encoders": [*ENCODERS],
    "Encoders with decoders": [*ENCODERS_WITH_DECODERS],
    "Language models": [*DECODERS],
    "Mixtures of experts": [*MIXTURES],
    "Recurrences and state spaces": [*STATES],
    "Images": [*IMAGES],
    "Sound": [*SOUND],
    "Video": [*VIDEO],
    "Text with images, and objects in images": [*TEXT_WITH_IMAGES],
    "Time series and decisions": [*SERIES],
    ADAPTED: [*ADAPTERS],
}
CASES: dict[str, Case] = {case.name: case for cases in HEADINGS.values() for case in cases}


def lacking(case: Case) -> str:
    """Return why a configuration cannot be built here, or nothing."""
    if isinstance(case, Adapter) and find_spec("peft") is None:
        return "PEFT is not installed: pip install --no-deps peft accelerate"
    return ""
