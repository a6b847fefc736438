"""Whether gradients are recorded: in blocks, in functions and generators, and from a call on."""

import pytest

import dyn
import dyn.compat.torch as torch


def recorded() -> bool:
    return not (dyn.to_tensor([1.0], stop_gradient=False) * 2).stop_gradient


@pytest.mark.parametrize("package", [dyn, torch])
def test_the_mode_may_be_set_from_a_call_on(package):
    try:
        package.set_grad_enabled(False)
        assert not recorded() and not package.is_grad_enabled()
        with package.set_grad_enabled(True):
            assert recorded()
        assert not recorded()
    finally:
        package.set_grad_enabled(True)
    assert recorded()


def test_a_decorator_sets_the_mode_for_the_function_alone():
    decorated = dyn.set_grad_enabled(False)(recorded)
    assert recorded() and not decorated() and recorded()


def test_the_body_of_a_generator_runs_in_the_mode_and_its_caller_does_not():
    ended = []

    @dyn.no_grad()
    def numbers():
        try:
            given = yield recorded()
            yield given, recorded()
        except ValueError:
            yield "caught", recorded()
        finally:
            ended.append(recorded())
        return "end"

    walk = numbers()
    assert next(walk) is False and recorded()
    assert walk.send(3) == (3, False) and recorded()
    with pytest.raises(StopIteration, match="end"):
        next(walk)
    walk = numbers()
    next(walk)
    assert walk.throw(ValueError()) == ("caught", False) and recorded()
    walk.close()
    assert ended == [False, False] and recorded()
