"""Plugins are found, and a package that breaks is named."""

from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import ModuleType, SimpleNamespace

import pytest
from pydantic import ValidationError

from elspeth.contracts.plugins import Plugin, PluginKind
from elspeth.plugins import manager as manager_module
from elspeth.plugins.csv import CsvSink, CsvSinkOptions
from elspeth.plugins.hookspecs import hookimpl
from elspeth.plugins.manager import BUILTIN, PluginManager, PluginRegistrationError, plugin_packages
from elspeth.plugins.null import NullSink, NullSource


class OtherSink(NullSink):
    """A sink of another package.

    Its docstring has a second paragraph.
    """

    name = "other"


class NamelessSource(NullSource):
    """A source of yet another package."""

    name = "nameless"


class SecondCsvSink(NullSink):
    """A sink with a name that is taken."""

    name = "csv"


class NeitherPlugin(Plugin):
    """A plugin of no known kind."""

    kind = PluginKind.SINK
    name = "neither"


def offering(*plugins: type[Plugin]) -> ModuleType:
    module = ModuleType("offering")

    @hookimpl
    def elspeth_plugins() -> list[type[Plugin]]:
        return list(plugins)

    module.elspeth_plugins = elspeth_plugins  # type: ignore[attr-defined]
    return module


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Pretend that a package with one entry point is installed.

    The argument is called when the entry point is loaded.
    """

    def pretend(load: Callable[[], object]) -> None:
        entry_point = EntryPoint(name="extra", value="extra.plugins", group="elspeth.plugins")
        monkeypatch.setattr(manager_module, "entry_points", lambda *, group: [entry_point] if group else [])
        monkeypatch.setattr(EntryPoint, "load", lambda _: load())

    return pretend


def test_the_plugins_of_this_package_are_found() -> None:
    plugins = PluginManager.installed()
    assert {"csv", "null"} <= set(plugins.names(PluginKind.SOURCE))
    assert {"csv", "json", "null"} <= set(plugins.names(PluginKind.SINK))


def test_every_builtin_plugin_has_the_kind_and_name_it_is_listed_under() -> None:
    listed = [(kind, name) for kind, places in BUILTIN.items() for name in places]
    assert sorted(listed) == sorted((plugin.kind, plugin.name) for plugin in PluginManager([], BUILTIN).all())


def test_every_plugin_can_be_listed_and_recorded() -> None:
    for plugin in PluginManager.installed().all():
        assert plugin.description().endswith(".")
        assert 0 < len(plugin.plugin_version) <= 32
        assert 0 < len(plugin.name) <= 64


def test_the_plugins_of_another_package_are_found(install: Callable[[Callable[[], object]], None]) -> None:
    install(lambda: offering(OtherSink))
    plugins = PluginManager.installed()
    assert "other" in plugins.names(PluginKind.SINK)
    assert OtherSink.description() == "A sink of another package."


def test_the_plugins_of_every_package_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    offers = {"one": offering(OtherSink), "two": offering(NamelessSource)}
    points = [EntryPoint(name=name, value=f"{name}.plugins", group="elspeth.plugins") for name in offers]
    monkeypatch.setattr(manager_module, "entry_points", lambda *, group: points if group == "elspeth.plugins" else [])
    monkeypatch.setattr(EntryPoint, "load", lambda point: offers[point.name])
    plugins = PluginManager.installed()
    assert "other" in plugins.names(PluginKind.SINK)
    assert "nameless" in plugins.names(PluginKind.SOURCE)


def test_every_package_that_offers_plugins_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [SimpleNamespace(name="one", version="1.0"), None, SimpleNamespace(name="two", version="2.0")]
    points = [SimpleNamespace(dist=package) for package in packages]
    monkeypatch.setattr(manager_module, "entry_points", lambda *, group: points if group == "elspeth.plugins" else [])
    assert plugin_packages() == {"one": "1.0", "two": "2.0"}


def test_plugins_are_listed_sources_first_and_by_name() -> None:
    assert PluginManager([OtherSink, CsvSink, NullSource]).all() == [NullSource, CsvSink, OtherSink]


def test_the_plugins_that_make_recorded_calls_are_known() -> None:
    plugins = PluginManager.installed()
    calling = {(kind, name) for kind in PluginKind for name in BUILTIN[kind] if plugins.calls(kind, name)}
    assert calling == {(PluginKind.SOURCE, "http"), (PluginKind.TRANSFORM, "http"), (PluginKind.TRANSFORM, "llm")}


def test_an_option_that_is_null_is_not_its_default() -> None:
    sink = PluginManager.installed().sink("csv", {"path": "x.csv", "quote": None})
    assert isinstance(sink, CsvSink)
    assert CsvSinkOptions.model_validate(sink.options).quote is None


def test_a_plugin_is_made_with_checked_options() -> None:
    with pytest.raises(ValidationError, match="path"):
        PluginManager.installed().source("csv", {})


def test_an_imported_plugin_is_not_kept_for_other_managers() -> None:
    before = {kind: dict(places) for kind, places in BUILTIN.items()}
    PluginManager([], BUILTIN).all()
    assert before == BUILTIN


@pytest.mark.parametrize("error", [ImportError, RuntimeError, SyntaxError, AttributeError])
def test_a_package_that_cannot_be_imported_is_named(
    install: Callable[[Callable[[], object]], None], error: type[Exception]
) -> None:
    def fail() -> object:
        raise error("it is broken")

    install(fail)
    with pytest.raises(PluginRegistrationError) as caught:
        PluginManager.installed()
    assert str(caught.value) == (
        f"plugin 'extra' of an installed package cannot be loaded: {error.__name__}: it is broken"
    )


def test_two_plugins_with_one_name_are_refused() -> None:
    with pytest.raises(PluginRegistrationError) as caught:
        PluginManager([CsvSink, SecondCsvSink])
    assert str(caught.value) == (
        "two sink plugins are named 'csv': elspeth.plugins.csv.CsvSink and "
        f"{__name__}.SecondCsvSink; uninstall one of the packages"
    )


def test_a_plugin_with_the_name_of_one_of_this_package_is_refused(
    install: Callable[[Callable[[], object]], None],
) -> None:
    install(lambda: offering(SecondCsvSink))
    with pytest.raises(PluginRegistrationError) as caught:
        PluginManager.installed()
    assert str(caught.value) == (
        "two sink plugins are named 'csv': elspeth.plugins.csv.CsvSink and "
        f"{__name__}.SecondCsvSink; uninstall one of the packages"
    )


def test_a_class_of_no_kind_is_refused() -> None:
    with pytest.raises(PluginRegistrationError) as caught:
        PluginManager([NeitherPlugin])
    assert str(caught.value) == (
        f"{__name__}.NeitherPlugin is not a plugin: expected a subclass of Source, Transform, Aggregation or Sink"
    )
