"""What is said of Paddle's names that are not offered."""

import pytest

import dyn
from dyn.absent import ADVICE

MODULES = (dyn, dyn.nn, dyn.nn.functional, dyn.vision, dyn.linalg)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_names_that_are_absent_say_what_to_do(module):
    for name, advice in ADVICE.items():
        if name not in vars(module):
            with pytest.raises(AttributeError) as caught:
                getattr(module, name)
            assert str(caught.value) == f"{module.__name__} has no {name!r}: {advice}"
    with pytest.raises(AttributeError, match=r"has no 'nonsense'$"):
        module.nonsense  # noqa: B018
    assert not hasattr(module, "__wrapped__")


def test_names_that_are_offered_have_no_advice():
    offered = {name for module in MODULES for name in module.__all__}
    assert not offered & ADVICE.keys()


def test_what_is_advised_exists():
    words = " ".join(ADVICE.values()).replace(",", " ").replace(":", " ").split()
    for word in words:
        if word.startswith("dyn."):
            found = dyn
            for part in word.split(".")[1:]:
                found = getattr(found, part)
    for name in ("lgamma", "concat", "transpose", "reshape", "neg", "less_than", "flip"):
        assert callable(getattr(dyn, name))
