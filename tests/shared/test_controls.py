import threading

import pytest

from shared.runtime.controls import Choices, Controls


@pytest.mark.parametrize(("press", "choices"), [
    (Controls.toggle_mute, Choices(muted=True)),
    (Controls.toggle_hold, Choices(held=True)),
    (Controls.toggle_self_view, Choices(shows_self=False)),
])  # fmt: skip
def test_each_changes_its_own_and_back(press: object, choices: Choices) -> None:
    controls = Controls()
    assert callable(press)
    press(controls)
    assert controls.choices == choices
    press(controls)
    assert controls.choices == Choices()


def test_no_sound_leaves_on_hold_either() -> None:
    assert [Choices(muted, held).silent for muted, held in [(0, 0), (1, 0), (0, 1)]] == [False, True, True]


def test_watchers_hear_of_changes_alone_and_no_more_once_they_have_left() -> None:
    controls, seen = Controls(), list[Choices]()
    leave = controls.watch(lambda: seen.append(controls.choices))
    controls.toggle_mute()
    controls.peer_says(muted=False, held=True)
    controls.peer_says(muted=False, held=True)
    leave()
    leave()
    controls.toggle_mute()
    assert seen == [Choices(muted=True), Choices(muted=True, peer_held=True)]


def test_a_watcher_may_change_something_itself() -> None:
    controls = Controls()
    controls.watch(
        lambda: controls.choices.held and controls.choices.shows_self and controls.toggle_self_view()
    )
    controls.toggle_hold()
    assert controls.choices == Choices(held=True, shows_self=False)


def test_hanging_up_is_told_to_whoever_ends_the_call() -> None:
    controls, ended = Controls(), list[str]()
    forget = controls.on_hang_up(lambda: ended.append("one"))
    controls.on_hang_up(lambda: ended.append("other"))
    controls.hang_up()
    forget()
    controls.hang_up()
    assert ended == ["one", "other", "other"]


def test_no_press_is_lost_between_threads() -> None:
    controls = Controls()
    presses = [
        threading.Thread(target=lambda: [controls.toggle_mute() for _ in range(501)]) for _ in range(4)
    ]
    for one in presses:
        one.start()
    for one in presses:
        one.join()
    assert controls.choices == Choices()
