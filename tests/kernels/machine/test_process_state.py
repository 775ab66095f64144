"""What torch keeps for the whole process is changed for one thread, or shared by threads and restored by the last."""

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend

from kernels import kernel_matrix
from kernels.capture.quiet import quiet
from kernels.machine.precision import PRECISIONS, float32_products
from kernels.machine.process_state import SharedSetting, original, replaced_here


class Owner:
    def method(self) -> str:
        return "method"

    @staticmethod
    def static() -> str:
        return "static"


class Heir(Owner):
    """Inherits both."""


def elsewhere(call: Callable[[], object]) -> object:
    """Call in another thread."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("owner", [Owner, Heir])
def test_a_replaced_function_is_replaced_for_one_thread_and_leaves_nothing(owner: type[Owner]) -> None:
    before = dict(vars(owner))
    one, two = ExitStack(), ExitStack()
    one.enter_context(replaced_here(owner, "method", lambda self: "ours"))
    elsewhere(lambda: two.enter_context(replaced_here(owner, "method", lambda self: "theirs")))
    with replaced_here(owner, "static", lambda: "ours"), replaced_here(owner, "method", lambda self: "innermost"):
        assert (owner().method(), owner.static()) == ("innermost", "ours")
        assert elsewhere(lambda: (owner().method(), owner.static())) == ("method", "static")
        assert original(owner, "method") is Owner.__dict__.get("method") or owner is Owner
    assert owner().method() == "ours"
    one.close()  # the first to come is the first to leave
    assert owner().method() == "method"
    two.close()
    assert dict(vars(owner)) == before


@pytest.mark.parametrize("changed", [Owner, Heir])
def test_what_somebody_has_changed_between_two_blocks_is_what_is_replaced_then(
    changed: type[Owner], monkeypatch
) -> None:
    with replaced_here(Heir, "method", lambda self: "ours"):
        assert Heir().method() == "ours"
    monkeypatch.setattr(changed, "method", lambda self: "changed")
    for _ in range(2):
        with replaced_here(Heir, "method", lambda self: "ours"):
            assert (Heir().method(), elsewhere(lambda: Heir().method())) == ("ours", "changed")
            assert original(Heir, "method")(Heir()) == "changed"
        assert Heir().method() == "changed"
    assert ("method" in vars(Heir)) == (changed is Heir)


def test_a_block_inside_of_an_equal_one_undoes_what_was_set_in_between() -> None:
    with float32_products():
        torch.set_autocast_enabled("cpu", True)
        with float32_products():
            assert not torch.is_autocast_enabled("cpu")
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert not torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_enabled("cpu")
        torch.set_autocast_enabled("cpu", False)
    held = ["fast"]
    setting = SharedSetting(lambda: held[0], lambda value: held.__setitem__(0, value), ("exact", "fast"))
    with setting.at("exact"):
        assert setting.is_at("exact") and not elsewhere(lambda: setting.is_at("exact"))
        held[0] = "fast"  # by somebody else
        assert not setting.is_at("exact")
        with setting.at("exact"):
            assert held == ["exact"]
    assert held == ["fast"]


def test_a_setting_is_the_strictest_of_all_threads_and_comes_back_with_the_last() -> None:
    held = ["fast"]
    setting = SharedSetting(lambda: held[0], lambda value: held.__setitem__(0, value), ("exact", "fast"))
    one = ExitStack()
    one.enter_context(setting.at("exact"))
    with setting.at("fast"):  # in one thread the innermost wins
        assert held == ["fast"]
    assert held == ["exact"]
    two = ExitStack()
    elsewhere(lambda: two.enter_context(setting.at("fast")))
    assert held == ["exact"]
    one.close()
    two.close()
    assert held == ["fast"]
    with setting.at("exact"):
        held[0] = "set by somebody else"
    assert held == ["set by somebody else"]


class Looks(nn.Module):
    """Looks, from inside a pass, at what another thread sees."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.small = nn.Linear(4, 3), nn.Linear(4, 3)
        self.seen: set[object] = set()

    def other(self) -> tuple[object, ...]:
        x = torch.ones(2, 4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            kind = self.small(x).dtype
        fused = torch.backends.cuda.flash_sdp_enabled()
        fast = torch.backends.mha.get_fastpath_enabled()
        return kind, fused, fast, torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def forward(self, x: Tensor) -> Tensor:
        seen.add(elsewhere(self.other))
        return self.inner(x)


seen: set[object] = set()


def test_a_kernel_in_one_thread_changes_nothing_in_another() -> None:
    model, x = Looks().eval(), torch.randn(4, 4)
    model.small.requires_grad_(False)
    expected = elsewhere(model.other)
    seen.clear()
    kernel_matrix(model, x)
    assert seen == {expected} and expected[0] is torch.bfloat16  # type: ignore[index]


def test_kernels_in_two_threads_do_not_mix() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    x, flags = torch.randn(6, 4), [p.requires_grad for p in model.parameters()]
    expected = {name: kernel_matrix(model, x, precision=name).matrix for name in PRECISIONS}
    enter, leave = torch.autocast.__enter__, torch.autocast.__exit__
    found: list[tuple[str, Tensor]] = []

    def repeat(name: str) -> None:
        found.extend((name, kernel_matrix(model, x, precision=name).matrix) for _ in range(3))

    threads = [threading.Thread(target=repeat, args=(name,)) for name in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 * len(expected)
    assert all(torch.equal(matrix, expected[name]) for name, matrix in found)
    assert [p.requires_grad for p in model.parameters()] == flags and model[0].weight.dtype == torch.float32
    assert (torch.autocast.__enter__, torch.autocast.__exit__) == (enter, leave)


@pytest.mark.parametrize("masked", ["none", "causal", "bool", "float"])
def test_plain_attention_is_that_of_torch_to_the_bit(masked: str) -> None:
    q, k, v = torch.randn(3, 2, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = {"bool": torch.ones(5, 5).tril().bool(), "float": torch.ones(5, 5).tril().log()}.get(masked)
    attend = torch.nn.functional.scaled_dot_product_attention
    with torch.nn.attention.sdpa_kernel(SDPBackend.MATH):
        expected = attend(q, k, v, mask, is_causal=masked == "causal", scale=0.3)
    with quiet(nn.Linear(1, 1)):
        assert torch.equal(attend(q, k, v, mask, is_causal=masked == "causal", scale=0.3), expected)
