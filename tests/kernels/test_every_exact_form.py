"""Every kernel of every case, in every form, equals the Jacobian's, to 1e-10 relative in float64."""

import pytest
import torch
from torch import Tensor, nn

from kernels import kernel_matrix
from kernels.capture.capture import Capture
from kernels.contraction.forms import available_forms
from kernels.inputs.outputs import bind_cotangent
from tests.kernels.cases import BY_NAME, CASES, Case, Inputs, make
from tests.references import per_sample_jacobian as slow


def reference(kind: str, left: Tensor, right: Tensor) -> Tensor:
    if kind == "trntk":
        return torch.einsum("ncp,mcp->nm", left, right)
    if kind == "pntk":
        return left.sum(1) @ right.sum(1).T
    return torch.einsum("ncp,mdp->nmcd", left, right)


def forms_of(model: nn.Module, inputs: Inputs) -> list[str]:
    """Exact forms that some layer of a network has."""
    _, blocks = Capture(model, slow.rows(inputs, slice(0, 3))).blocks(inputs, bind_cotangent("class", None))
    return sorted(set.union(*(available_forms(block) for block in blocks)))


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


TAKES_LONG = ("tiny_gpt2", "tiny_bert", "tiny_resnet", "lstm", "gru", "lstm_projected", "derived_weights")
NAMES = [case.name for case in CASES]


ALL_OF_THEM = [pytest.param(case, marks=[pytest.mark.slow] if case.name in TAKES_LONG else []) for case in CASES]


# The Jacobian is the check: a certificate of every small pass would take as long again.
def in_form(form: str) -> dict[str, object]:
    return {"normalize": False, "precision": "float64", "forms": form, "certify": "off"}


@pytest.mark.parametrize("case", ALL_OF_THEM, ids=NAMES)
def test_kernels_in_every_form_and_their_parts(case: Case) -> None:
    model, inputs, _ = make(case, 6)
    parts = slow.jacobian(model, inputs)
    jacobian = slow.flat(parts)
    test, train = slow.rows(inputs, slice(4, 6)), slow.rows(inputs, slice(0, 4))
    for form in forms_of(model, inputs):
        found = kernel_matrix(model, inputs, block_rows=4, batch_size=3, **in_form(form))
        close(found.matrix, reference("trntk", jacobian, jacobian))
        cross = kernel_matrix(model, train, test, kind="entk", **in_form(form))
        close(cross.matrix, reference("entk", jacobian[4:], jacobian[:4]))
    found = kernel_matrix(model, inputs, kind="pntk", layerwise=True, normalize=False, precision="float64")
    close(found.matrix, reference("pntk", jacobian, jacobian))
    close(sum(found.parts.values()), found.matrix)
    coverage = found.metadata["coverage"]
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(found.parts) == trainable - set(coverage["unused"])
    everything = [*coverage["ruled"], *coverage["fallback"], *coverage["unused"], *coverage["frozen"]]
    assert sorted(everything) == sorted(name for name, _ in model.named_parameters())
    for name, part in found.parts.items():
        expected = reference("pntk", parts[name], parts[name])
        close(part, expected) if expected.abs().max() > 1e-12 else close(part + 1, expected + 1)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_square_class_blocks_and_rectangular_traces_in_every_form(case: Case) -> None:
    model, inputs, _ = make(case, 6)
    jacobian = slow.flat(slow.jacobian(model, inputs))
    test, train = slow.rows(inputs, slice(4, 6)), slow.rows(inputs, slice(0, 4))
    for form in forms_of(model, inputs):
        found = kernel_matrix(model, inputs, kind="entk", block_rows=4, batch_size=3, **in_form(form))
        close(found.matrix, reference("entk", jacobian, jacobian))
        cross = kernel_matrix(model, train, test, **in_form(form))
        close(cross.matrix, reference("trntk", jacobian[4:], jacobian[:4]))


@pytest.mark.parametrize(
    "name",
    [
        "mlp",
        "conv2d_groups",
        "tied_language_model",
        pytest.param("tiny_resnet", marks=pytest.mark.slow),
        pytest.param("tiny_gpt2", marks=pytest.mark.slow),
        "self_attention",
    ],
)
def test_rectangular_cosine_uses_exact_norms(name: str) -> None:
    model, inputs, _ = make(BY_NAME[name], 6)
    train, test = slow.rows(inputs, slice(0, 4)), slow.rows(inputs, slice(2, 6))
    for form in (None, *forms_of(model, inputs)):
        options = {"precision": "float64", "forms": form, "certify": "off"}
        for kind in ("trntk", "entk"):
            square = kernel_matrix(model, inputs, kind=kind, **options)
            cross = kernel_matrix(model, train, test, kind=kind, **options)
            close(cross.matrix, square.matrix[2:, :4])
            close(cross.diagonal, square.diagonal[2:])
            close(cross.column_diagonal, square.diagonal[:4])


@pytest.mark.parametrize(
    "name",
    [
        "mlp",
        pytest.param("tiny_resnet", marks=pytest.mark.slow),
        pytest.param("tiny_bert", marks=pytest.mark.slow),
        "tied_language_model",
    ],
)
def test_blocks_batches_and_class_chunks_change_nothing(name: str) -> None:
    model, inputs, _ = make(BY_NAME[name], 7)
    whole = kernel_matrix(model, inputs, precision="float64")
    for options in ({"block_rows": 2}, {"block_rows": 3, "batch_size": 1}, {"batch_size": 2}):
        close(kernel_matrix(model, inputs, precision="float64", certify="off", **options).matrix, whole.matrix)


@pytest.mark.slow
def test_a_small_budget_splits_classes_then_rows() -> None:
    model, inputs, _ = make(BY_NAME["tiny_resnet"], 16)
    whole = kernel_matrix(model, inputs, precision="float64")
    seen = set()
    for budget in ("110KB", "200KB", "900KB"):
        found = kernel_matrix(model, inputs, precision="float64", memory=budget)
        plan = found.metadata["plan"]
        seen.add((plan.class_chunks > 1, plan.row_block < 16))
        close(found.matrix, whole.matrix)
    assert {(True, False), (False, True)} <= seen


def test_classes_that_share_one_forward_pass() -> None:
    for name in ("tiny_resnet", "tiny_gpt2", "tied_language_model"):
        model, inputs, _ = make(BY_NAME[name], 7)
        swept = kernel_matrix(model, inputs, precision="float64", memory="1GiB")
        plan = swept.metadata["plan"]
        assert plan.one_pass == (plan.class_chunks > 1) and plan.passes == 7
        close(swept.matrix, kernel_matrix(model, inputs, precision="float64", batch_size=7).matrix)
    model, inputs, _ = make(BY_NAME["tiny_resnet"], 7)
    assert kernel_matrix(model, inputs, precision="float64", memory="1GiB").metadata["plan"].one_pass
    first = [next(name for name, _ in model.named_parameters())]  # a generic pass would be repeated for each chunk
    found = kernel_matrix(model, inputs, precision="float64", memory="1GiB", fallback=first)
    assert not found.metadata["plan"].one_pass
    inputs.requires_grad_(True)
    kernel_matrix(model, inputs, precision="float64", memory="1GiB")
    assert inputs.grad is None and all(p.grad is None for p in model.parameters())


def test_loss_gradient_and_its_labels() -> None:
    model, inputs, labels = make(BY_NAME["mlp"], 6)
    jacobian = slow.flat(slow.jacobian(model, inputs))
    logits = slow.logits(model, inputs).detach()

    def pulled(targets: Tensor) -> Tensor:
        error = torch.softmax(logits, 1) - torch.nn.functional.one_hot(targets, 3)
        return torch.einsum("nc,ncp->np", error, jacobian)

    options = {"kind": "loss_gradient", "normalize": False, "precision": "float64"}
    true = pulled(labels)
    close(kernel_matrix(model, inputs, labels=labels, **options).matrix, true @ true.T)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), batch_size=4)
    close(kernel_matrix(model, loader, **options).matrix, true @ true.T)
    predicted = pulled(logits.argmax(1))
    close(kernel_matrix(model, inputs, inputs, labels=labels, **options).matrix, predicted @ true.T)
    found = kernel_matrix(model, inputs, inputs, labels=labels, test_labels=labels, **options)
    close(found.matrix, true @ true.T)
    with pytest.raises(ValueError, match="labels"):
        kernel_matrix(model, inputs, **options)


@pytest.mark.parametrize("name", [case.name for case in CASES if case.head is not None])
def test_conjugate_kernel_is_the_inner_product_of_last_features(name: str) -> None:
    case = BY_NAME[name]
    model, inputs, _ = make(case, 5)
    caught: list[Tensor] = []
    handle = model.get_submodule(case.head).register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    logits = slow.logits(model, inputs)
    handle.remove()
    hidden = caught[0].detach()
    if hidden.ndim == 3:
        outputs = model.get_submodule(case.head)(hidden)
        place = (outputs == logits[:, None]).all(2).int().argmax(1)
        hidden = hidden[torch.arange(5), place]
    options = {"kind": "conjugate", "normalize": False, "precision": "float64"}
    close(kernel_matrix(model, inputs, **options).matrix, hidden @ hidden.T)
    close(kernel_matrix(model, inputs, append_one=True, **options).matrix, hidden @ hidden.T + 1)


def test_embedding_kernel_sums_the_chosen_outputs() -> None:
    model, inputs, _ = make(BY_NAME["tiny_resnet"], 5)
    names = [n for n, m in model.named_modules() if n and not any(m.children())]
    outputs: dict[str, list[Tensor]] = {name: [] for name in names}
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda _m, _a, out, name=name: outputs[name].append(out.detach().flatten(1).clone())
        )
    slow.logits(model, inputs)
    features = {name: torch.cat(outputs[name], 1) for name in names}  # a module that runs twice counts twice
    options = {"kind": "embedding", "normalize": False, "precision": "float64"}
    expected = sum(f @ f.T for f in features.values())
    close(kernel_matrix(model, inputs, **options).matrix, expected)
    parts = kernel_matrix(model, inputs, layers=names[:2], layerwise=True, **options).parts
    assert list(parts) == names[:2]
    for name, part in parts.items():
        close(part, features[name] @ features[name].T)
