"""The tables in README.md and docs are up to date with benchmarks/results."""

from __future__ import annotations

from benchmarks import page_tables


def test_pages_have_the_tables_of_the_results() -> None:
    found = []
    for path in page_tables.PAGES:
        page = path.read_text(encoding="utf8")
        assert page_tables.filled(page) == page, f"{path}: run python -m benchmarks.page_tables"
        found += [match[1] for match in page_tables.MARKED.finditer(page)]
        assert page.count("<!-- table ") == len(page_tables.MARKED.findall(page)), path
    # Every table that can be made is quoted somewhere.
    assert set(page_tables.TABLES) <= set(found)


def test_a_table_of_another_result_is_put_in_its_place() -> None:
    page = "Before\n<!-- table in-short -->\n| stale |\n<!-- end -->\nafter\n"
    made = page_tables.filled(page)
    assert made.startswith("Before\n<!-- table in-short -->\n| corpus, test |")
    assert made.endswith("|\n<!-- end -->\nafter\n") and "stale" not in made
    assert page_tables.filled(made) == made


def test_seeds_of_a_system_make_one_row_with_their_mean_and_range() -> None:
    def run(seed: int | list[int], system: str, f: float) -> dict:
        test = {"p": 0.5, "r": 0.25, "f": f, "untyped_f": 0.9}
        return {"system": system, "seed": seed, "dev": {"f": 0.8}, "test": test}

    seeds = [run(0, "accurate-from-mentions", 0.3), run(1, "accurate-from-mentions", 0.4)]
    row = page_tables.accuracy_row("wnut17", seeds)
    assert row[1:3] == ("`accurate`, from the mention head", "2")
    assert row[4:] == ("50.00", "25.00", "35.00 (30.00-40.00)", "90.00")
    joined = [run([0, 1, 2], "accurate, mean of 3 heads", 0.5)]
    row = page_tables.accuracy_row("litbank", joined)
    assert row[:4] == ("LitBank", "`accurate`, mean of 3 heads", "3", "80.00")
    assert row[6] == "50.00"
