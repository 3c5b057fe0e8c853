"""The part of a delay that is this machine's own."""

from sender.own_delay import OwnDelay


def test_before_there_is_anything_to_compare_it_is_none() -> None:
    own = OwnDelay()
    assert own.ms(0.0) == 0
    own.left(0.0, 0.4)
    assert own.ms(0.4) == 0


def test_a_machine_that_has_become_busy_takes_longer_than_it_did() -> None:
    own = OwnDelay()
    for n in range(20):
        own.left(n / 5, n / 5 + 0.02)
    assert own.ms(4.0) == 0
    for n in range(20, 40):
        own.left(n / 5, n / 5 + 0.32)
    assert own.ms(8.0) == 300
    # One that is quick among them: only some are late.
    own.left(8.0, 8.03)
    assert own.ms(8.1) == 10


def test_what_has_not_been_sent_of_late_is_not_known() -> None:
    own = OwnDelay()
    for n in range(20):
        own.left(n / 5, n / 5 + 0.02 * (n > 5))
    assert own.ms(30.0) == 0
