"""The colour of each label: displaCy's own, and others for labels that displaCy does not know."""

from __future__ import annotations

from collections.abc import Sequence

from spacy.displacy.render import DEFAULT_LABEL_COLORS

# Farthest from displaCy's colours and from each other, in this order (distance in OKLab).
_PALETTE = (
    *("#83c758", "#c5af75", "#62bbf5", "#fab6ba", "#41ebb0", "#cf9fc9", "#bed955", "#42cab4"),
    *("#c1b508", "#f7aef0", "#eba002", "#b5fc8c", "#a8ceff", "#df9e93", "#f784c8", "#c3d398"),
    *("#a7b0cb", "#d5c3dd", "#8dc096", "#98dcbe", "#35c5db", "#dac7ae", "#a9f7e6", "#fddae3"),
)
# When the palette is used up, its colours return lighter, then darker.
_SHADES = ("{}", "color-mix(in srgb, {} 50%, #fff)", "color-mix(in srgb, {} 75%, #555)")

# Other names of labels that displaCy has a colour for.
_SAME_AS = {
    "PER": "PERSON",
    "ORGANIZATION": "ORG",
    "ORGANISATION": "ORG",
    "LOCATION": "LOC",
    "FACILITY": "FAC",
    "CREATIVE-WORK": "WORK_OF_ART",
}
# Labels of frequent corpora, and those of the shipped heads, that displaCy draws in grey.
_OWN = (
    *("MISC", "MENTION", "COMPANY", "CITY", "GROUP", "CORPORATION", "COUNTRY", "DISEASE"),
    *("CHEMICAL", "GENE", "PROTEIN", "SPECIES", "VEH"),
)
# Registered for displaCy ("spacy_displacy_colors" in setup.cfg). The colours of its own labels do
# not change.
DISPLACY_COLOURS = {
    **{name: DEFAULT_LABEL_COLORS[known] for name, known in _SAME_AS.items()},
    **dict(zip(_OWN, _PALETTE, strict=False)),
}
_KNOWN = {**DISPLACY_COLOURS, **DEFAULT_LABEL_COLORS}


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """Assign each label a colour that no other label has.

    Labels that displaCy draws in colour have the same one here. Of labels that share one there
    (DATE and TIME, PER and PERSON), the first keeps it. Up to 72 others have different colours;
    after that they repeat.

    labels (Sequence[str]): The labels.
    RETURNS (Dict[str, str]): Colours in CSS, lighter or darker with the page's theme.
    """
    colours: dict[str, str] = {}
    for label in sorted({*labels}):
        known = _KNOWN.get(label.upper())
        if known and known not in colours.values():
            colours[label] = known
    free = [colour for colour in _cycle() if colour not in colours.values()]
    for number, label in enumerate(sorted({*labels} - {*colours})):
        colours[label] = free[number % len(free)]
    return {label: themed(colours[label]) for label in labels}


def themed(colour: str) -> str:
    """Mix a colour with the background as the page's theme wants it (templates/base.css)."""
    return f"color-mix(in srgb, {colour} var(--tint), var(--card))"


def _cycle() -> list[str]:
    return [shade.format(colour) for shade in _SHADES for colour in _PALETTE]
