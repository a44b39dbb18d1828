"""Image and text questions about the same fact, together. Source: UMU-Bench."""

from collections.abc import Callable, Mapping, Sequence


def all_modal_accuracy(image: Sequence[bool], text: Sequence[bool]) -> float:
    """Share in [0, 1] of facts answered right both with the image and by text alone; higher means more is known.

    Raises ValueError without a fact, or where the two differ in length.
    """
    if not image:
        raise ValueError("accuracy of no answers is undefined")
    return sum(one and other for one, other in zip(image, text, strict=True)) / len(image)


def all_modal_error(image: Sequence[bool], text: Sequence[bool]) -> float:
    """Share in [0, 1] of facts answered wrong both ways; higher means more was forgotten. Raises as above."""
    return all_modal_accuracy([not right for right in image], [not right for right in text])


def rlf(image: float, text: float) -> float:
    """(a^2 + b^2) / (a + b) of two ROUGE-L in [0, 1]: near the larger one, so that forgetting one way is not enough.

    In [0, 1]; lower means more was forgotten; 0 where both are.
    """
    return (image**2 + text**2) / (image + text) if image + text else 0.0


def rlr(image: float, text: float) -> float:
    """2 a b / (a + b) of two ROUGE-L in [0, 1]: near the smaller one; higher means more was kept; 0 where both are."""
    return 2 * image * text / (image + text) if image + text else 0.0


_BOTH: Mapping[str, Callable[[float, float], float]] = {
    "all_modal": lambda image, text: all_modal_accuracy([image == 1], [text == 1]),
    "all_modal_error": lambda image, text: all_modal_error([image == 1], [text == 1]),
}
MODALITIES: Mapping[str, Mapping[str, Callable[[float, float], float]]] = {
    **dict.fromkeys(("accuracy", "choice", "cloze"), _BOTH),
    "ROUGE-L F": {"rlf": rlf, "rlr": rlr},
    "ROUGE-L recall": {"rlf": rlf, "rlr": rlr},
}
"""By the measure of its two questions, what a fact is worth that is asked with an image and without."""
