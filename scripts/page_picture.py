"""Take a picture of a page with a headless Chromium, for the README and the docs.

The picture of the README, after `make run`:

    python -m spacy llm2ner visualize training/model-best corpus/test.spacy visuals \\
        --title "Sample pipeline on its test texts"
    python scripts/page_picture.py visuals/index.html docs/images/result-page.png \\
        --width 1200 --height 1072

`--theme dark` shows the page as a reader with a dark desktop sees it.

`chromium` (or `chromium-browser`, `google-chrome`) must be in the PATH.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# No downloads, reports or profile: the page is a local file.
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--hide-scrollbars",
)


# Chromium's numbers of the themes that a page may ask for.
THEMES = {"dark": 0, "light": 1}


def take_picture(
    page: Path, picture: Path, width: int, height: int, scale: float = 1.0, theme: str = "light"
) -> None:
    """Write a PNG of a page.

    page (Path): The HTML file.
    picture (Path): The PNG file to write.
    width (int): Width of the window, in CSS pixels.
    height (int): Height of the window, in CSS pixels.
    scale (float): Device pixels in a CSS pixel.
    theme (str): "light" or "dark".
    RAISES (SystemExit): If there is no browser.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"None of {', '.join(BROWSERS)} is in the PATH.")
    picture.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                *QUIET,
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                f"--force-device-scale-factor={scale}",
                f"--blink-settings=preferredColorScheme={THEMES[theme]}",
                f"--screenshot={picture.resolve()}",
                page.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


def main() -> None:
    """Read the command line and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--theme", choices=THEMES, default="light")
    args = parser.parse_args()
    take_picture(args.page, args.picture, args.width, args.height, args.scale, args.theme)
    print(args.picture)


if __name__ == "__main__":
    main()
