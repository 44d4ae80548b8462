"""The search for accessibility problems in pages."""

from __future__ import annotations

from tests.examples.accessibility import keyboard_barriers
from tests.fixtures.browser import Tab


def test_elements_that_the_tab_key_does_not_reach_are_found(tab: Tab) -> None:
    sound = "<a href=#x>a</a><button>b</button><div hidden><button>c</button></div><input>"
    tab.open(sound)
    assert list(keyboard_barriers(tab)) == []
    tab.open(f"<style>a {{ outline: none }}</style>{sound}<button tabindex=-1>d</button>")
    assert list(keyboard_barriers(tab)) == [
        'nothing shows that this has the focus: <a href="#x" data-reached="yes">a</a>',
        "expected the Tab key to reach 4 elements, got 3",
    ]
