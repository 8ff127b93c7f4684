"""Hand-written words and names for each label; fixed on dev data, before scoring test."""

from __future__ import annotations

WORDS = {
    "conll2003": {
        "PER": ["person", "man", "politician", "player"],
        "LOC": ["location", "city", "country", "place"],
        "ORG": ["organization", "company", "team", "agency"],
        "MISC": ["nationality", "event", "language", "competition"],
    },
    "wnut17": {
        "person": ["person", "man", "singer"],
        "location": ["location", "city", "country", "place"],
        "corporation": ["corporation", "company", "business"],
        "group": ["group", "band", "team"],
        "product": ["product", "device", "phone"],
        "creative-work": ["movie", "song", "show", "book"],
    },
}
NAMES = {
    "conll2003": {
        "PER": ["John Smith", "Angela Merkel", "Tiger Woods", "Maria Garcia", "Ahmed Hassan"],
        "LOC": ["Paris", "Germany", "New York", "Lake Geneva", "Africa"],
        "ORG": [
            *("Microsoft", "United Nations", "Manchester United", "Reuters"),
            "Bank of England",
        ],
        "MISC": ["German", "World Cup", "Olympic Games", "Nobel Prize", "French"],
    },
    "wnut17": {
        "person": ["John Smith", "Justin Bieber", "Obama", "Maria", "Tom"],
        "location": ["Paris", "Germany", "New York", "Lake Geneva", "London"],
        "corporation": ["Microsoft", "Google", "BBC", "Nike", "Facebook"],
        "group": ["Manchester United", "The Beatles", "Lakers", "Liberal Democrats", "Coldplay"],
        "product": ["iPhone", "Xbox", "Android", "Toyota Corolla", "Windows 7"],
        "creative-work": [
            *("Harry Potter", "Star Wars", "Game of Thrones", "The Simpsons"),
            "Call of Duty",
        ],
    },
}
