"""How the pages call the sets that may be read."""

from __future__ import annotations

from cmlcore.jobs.data_roots import short_names
from cmlcore.settings import settings


def test_a_set_goes_by_its_own_name_unless_that_is_not_enough(cml_home, tmp_path, monkeypatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("CML_DATA", str(tmp_path / "data"))
    settings.cache_clear()
    root, smears, one, other = (
        str(tmp_path / f) for f in ("data", "data/smears", "data/marrow", "old/marrow")
    )
    assert short_names([root, smears, one, other]) == {root: root, smears: "smears", one: one, other: other}
