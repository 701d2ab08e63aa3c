"""Which row of docs/names.md a test shows."""

from test_names import rows

SHOWN: dict[tuple[str, str], str] = {}


def of(library, *beginnings):
    """Mark a test as the one of these rows, by the beginning of what stands in their column "theirs"."""
    def mark(test):
        for beginning in beginnings:
            assert (library, beginning) not in SHOWN, beginning
            SHOWN[library, beginning] = test.__name__
        return test

    return mark


def assert_shown(library):
    """Every row of a library that names a difference has a test, and every test a row."""
    wanted = {}
    for theirs, ours, difference in rows(library):
        plain = theirs.replace("`", "").replace("*", "")
        if difference and not difference.startswith("the same") and not ours.startswith("none: "):
            wanted[plain] = [key for key in SHOWN if key[0] == library and plain.startswith(key[1])]
    assert wanted and not [row for row, found in wanted.items() if not found]
    assert not {key for key in SHOWN if key[0] == library} - {key for found in wanted.values() for key in found}
