"""Routing decisions that contradict themselves are refused."""

import pytest

from elspeth.contracts.enums import RoutingKind, RoutingMode
from elspeth.contracts.routing import RoutingAction


def test_a_decision_has_as_many_destinations_as_its_kind_allows() -> None:
    assert RoutingAction.continue_().destinations == ()
    assert RoutingAction.route("true", reason={"rule": "x"}).destinations == ("true",)
    assert RoutingAction.fork_to_paths(["a", "b"]) == RoutingAction(
        RoutingKind.FORK_TO_PATHS, ("a", "b"), RoutingMode.COPY
    )


def test_every_decision_keeps_its_reason() -> None:
    reason = {"rule": "x"}
    assert RoutingAction.continue_(reason=reason).reason == reason
    assert RoutingAction.route("a", reason=reason).reason == reason
    assert RoutingAction.fork_to_paths(["a"], reason=reason).reason == reason
    assert (RoutingAction.continue_().reason, RoutingAction.route("a").reason) == ({}, {})


def test_a_route_may_divert() -> None:
    assert RoutingAction.route("a", mode=RoutingMode.DIVERT).mode is RoutingMode.DIVERT
    assert RoutingAction.route("a").mode is RoutingMode.MOVE


def test_the_reason_is_immutable() -> None:
    reason = {"rule": "x"}
    action = RoutingAction.route("true", reason=reason)
    reason["rule"] = "y"
    assert dict(action.reason) == {"rule": "x"}
    with pytest.raises(TypeError):
        action.reason["rule"] = "z"  # type: ignore[index]


@pytest.mark.parametrize(
    ("kind", "destinations", "mode", "message"),
    [
        (RoutingKind.CONTINUE, ("a",), RoutingMode.MOVE, "a token that continues has no destinations, got ('a',)"),
        (RoutingKind.ROUTE, (), RoutingMode.MOVE, "a routed token has exactly one destination, got ()"),
        (RoutingKind.FORK_TO_PATHS, (), RoutingMode.COPY, "a fork needs at least one path and no path twice, got ()"),
        (
            RoutingKind.FORK_TO_PATHS,
            ("a", "a"),
            RoutingMode.COPY,
            "a fork needs at least one path and no path twice, got ('a', 'a')",
        ),
        (
            RoutingKind.CONTINUE,
            (),
            RoutingMode.COPY,
            "mode 'copy' belongs to forks: a token that takes 'continue' moves",
        ),
        (
            RoutingKind.ROUTE,
            ("a", "b"),
            RoutingMode.MOVE,
            "a routed token has exactly one destination, got ('a', 'b')",
        ),
        (RoutingKind.ROUTE, ("a",), RoutingMode.COPY, "mode 'copy' belongs to forks: a token that takes 'route' moves"),
    ],
)
def test_contradictions_are_refused(
    kind: RoutingKind, destinations: tuple[str, ...], mode: RoutingMode, message: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole message is compared
        RoutingAction(kind, destinations, mode)
    assert str(caught.value) == message
