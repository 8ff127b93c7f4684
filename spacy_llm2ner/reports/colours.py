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
_ADDED = {
    **{name: DEFAULT_LABEL_COLORS[known] for name, known in _SAME_AS.items()},
    **dict(zip(_OWN, _PALETTE, strict=False)),
}
_KNOWN = {**_ADDED, **DEFAULT_LABEL_COLORS}


def displacy_colours() -> dict[str, str]:
    """Return colours for labels that displaCy draws in grey, in any of its views.

    Registered as "spacy_llm2ner.displacy_colors.v1". displaCy's own labels keep their colours.

    RETURNS (Dict[str, str]): Colours in CSS, by label in capitals.
    """
    return dict(_ADDED)


def own_colours(labels: Sequence[str]) -> dict[str, str]:
    """Assign each label a colour that no other label has.

    Labels that displaCy draws in colour have the same one here. Of labels that share one there
    (DATE and TIME, PERSON and PER), the first keeps it. Up to 72 others have different colours;
    after that they repeat.

    labels (Sequence[str]): The labels.
    RETURNS (Dict[str, str]): Colours in CSS.
    """
    colours: dict[str, str] = {}
    for label in sorted({*labels}, key=lambda name: (name.upper() in _ADDED, name)):
        known = _KNOWN.get(label.upper())
        if known and known not in colours.values():
            colours[label] = known
    cycle = [shade.format(colour) for shade in _SHADES for colour in _PALETTE]
    free = [colour for colour in cycle if colour not in colours.values()]
    for number, label in enumerate(sorted({*labels} - {*colours})):
        colours[label] = free[number % len(free)]
    return {label: colours[label] for label in labels}


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """Return the backgrounds of labels: their own colours, darker if the page is dark.

    labels (Sequence[str]): The labels.
    RETURNS (Dict[str, str]): Colours in CSS, with variables of templates/base.css.
    """
    return {
        label: f"color-mix(in srgb, {colour} var(--tint), var(--card))"
        for label, colour in own_colours(labels).items()
    }
