"""Inspect in tests: its files stay out of the user's folders, its own warnings are no errors."""

import gc
from pathlib import Path

import pytest

_INSPECTS_OWN = (
    "ignore:The 'initial' parameter is deprecated:DeprecationWarning",
    "ignore:Unclosed <MemoryObject:ResourceWarning",
)


def pytest_collection_modifyitems(items):
    """Pass over warnings that come from Inspect's use of its own dependencies."""
    for item in items:
        if _is_on_inspect(item):
            for pattern in _INSPECTS_OWN:
                item.add_marker(pytest.mark.filterwarnings(pattern))


@pytest.fixture(autouse=True)
def own_folder(request, monkeypatch, tmp_path):
    """Send what Inspect writes beside logs (traces, buffers) to a temporary folder."""
    if not _is_on_inspect(request.node):
        yield
        return
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    yield
    gc.collect()  # What Inspect leaves open says so here, and not in another test.


def _is_on_inspect(item):
    return item.path.parent == Path(__file__).parent and "inspect" in item.path.name
