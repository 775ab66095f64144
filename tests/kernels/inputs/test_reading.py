"""Data as people have it gives the right samples, or one sentence that says what to pass instead."""

import warnings
from collections import UserDict

import datasets
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, DistributedSampler, RandomSampler, TensorDataset

import kernels
from kernels.inputs import Samples
from tests.kernels.inputs.rows import X, Y, linear

IDS = torch.arange(30).reshape(6, 5) % 9
MASK = (IDS != 3).long()


class Reader(nn.Module):
    """Reads ids, and a mask where there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        mask = torch.ones_like(ids) if attention_mask is None else attention_mask
        return self.head((self.table(ids) * mask[..., None]).sum(1))


class Shuffled:
    """An iterable of its own order each time."""

    def __iter__(self):
        yield from X[torch.randperm(6)].split(2)


def nested() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a prototype, says torch
        return torch.nested.nested_tensor([X[0], X[0, :2]])


def inputs_of(samples: Samples) -> Tensor | dict[str, Tensor]:
    return samples.first(100, torch.device("cpu"), torch.float32)


def same(data, labels: bool) -> None:
    samples = Samples(data)
    found = inputs_of(samples)
    assert torch.equal(found["x"] if isinstance(found, dict) else found, X)
    assert (samples.labels is not None) == labels
    if labels:
        assert torch.equal(samples.labels, Y)


PAIRS = list(zip(X.split(2), Y.split(2), strict=True))
WITH_LABELS = {
    "a loader of pairs": lambda: DataLoader(TensorDataset(X, Y), batch_size=4),
    "a data set": lambda: TensorDataset(X, Y),
    "a generator of pairs": lambda: (pair for pair in PAIRS),
    "a list of pairs": lambda: PAIRS,
    "a list of one pair": lambda: [(X, Y)],
    "a tuple of one pair": lambda: ((X, Y),),
    "a list of one mapping": lambda: [{"x": X, "labels": Y}],
    "a list of samples": lambda: [(x, int(y)) for x, y in zip(X, Y, strict=True)],
    "a loader of single samples": lambda: DataLoader(TensorDataset(X, Y), batch_size=None),
}


def one_tensor_again(pairs: bool):
    """Batches in one tensor that is filled again."""
    held, labels = torch.empty(2, 4), torch.empty(2, dtype=torch.int64)
    for start in range(0, 6, 2):
        held.copy_(X[start : start + 2])
        labels.copy_(Y[start : start + 2])
        yield (held, labels) if pairs else held


class Refilled:
    """Something that can be read twice."""

    def __iter__(self):
        return one_tensor_again(True)


WITH_LABELS |= {"one pair that is filled again": lambda: one_tensor_again(True), "a reader of one pair": Refilled}
WITHOUT = {
    "one tensor that is filled again": lambda: one_tensor_again(False),
    "a generator of tensors": lambda: iter(X.split(4)),
    "a list of batches": lambda: list(X.split(2)),
    "a list of one batch": lambda: [X],
    "a loader of tuples of one": lambda: DataLoader(TensorDataset(X), batch_size=2),
}


@pytest.mark.parametrize("form", [*WITH_LABELS, *WITHOUT])
def test_the_same_samples_in_many_forms(form: str) -> None:
    same((WITH_LABELS | WITHOUT)[form](), form in WITH_LABELS)


def rows_of_tokens(extra: dict | None = None) -> dict:
    return {"ids": IDS.tolist(), "attention_mask": MASK.tolist(), "label": Y.tolist()} | (extra or {})


MAPPINGS = {
    "tensors with labels": lambda: {"ids": IDS, "attention_mask": MASK, "labels": Y},
    "what a tokenizer returns": lambda: UserDict(rows_of_tokens()),
    "a datasets.Dataset": lambda: datasets.Dataset.from_dict(rows_of_tokens()),
    "one with a format": lambda: datasets.Dataset.from_dict(rows_of_tokens({"note": ["a"] * 6})).with_format(
        "torch", columns=["ids", "attention_mask", "label"]
    ),
    "its stream": lambda: datasets.Dataset.from_dict(rows_of_tokens()).to_iterable_dataset(),
    "a loader of it": lambda: DataLoader(datasets.Dataset.from_dict(rows_of_tokens()).with_format("torch"), 2),
    "a list of its rows": lambda: list(datasets.Dataset.from_dict(rows_of_tokens())),
    "a generator of named triples": lambda: (
        {"ids": a, "attention_mask": b, "labels": c}
        for a, b, c in DataLoader(TensorDataset(IDS, MASK, Y), batch_size=4)
    ),
}


@pytest.mark.parametrize("form", MAPPINGS)
def test_named_inputs_in_many_forms(form: str) -> None:
    samples = Samples(MAPPINGS[form]())
    found = inputs_of(samples)
    assert torch.equal(found["ids"], IDS) and torch.equal(found["attention_mask"], MASK)
    assert list(found) == ["ids", "attention_mask"] and torch.equal(samples.labels, Y)


REFUSED = {
    "a loader of ids and mask": (lambda: DataLoader(TensorDataset(IDS, MASK), 2), "second part has shape .* name what"),
    "float sequences with a mask": (lambda: [(torch.ones(2, 5, 3), MASK[:2].bool())], "no label per sample"),
    "a label per token": (lambda: [(IDS, MASK * -100)], "no label per sample"),
    "a loader of triples": (lambda: DataLoader(TensorDataset(IDS, MASK, Y), 2), "tuples of 3.*'attention_mask': mask"),
    "inputs and labels as a tuple": (lambda: (X, Y), "tuple of 2 tensors.*labels="),
    "a tuple of batches": (lambda: tuple(X.split(2)), "tuple of 3 tensors.*torch.cat"),
    "one batch of a loader": (lambda: next(iter(DataLoader(TensorDataset(X, Y), 6))), "list of 2 tensors"),
    "ids and mask of one batch": (lambda: [IDS, MASK], "list of 2 tensors"),
    "a list of flat tensors": (lambda: list(X), "torch.stack"),
    "pairs of flat tensors": (lambda: list(zip(IDS, MASK, strict=True)), "flat tensors.*torch.stack.*torch.cat"),
    "mappings of flat tensors": (lambda: ({"ids": row} for row in IDS), "may be a sample or a batch"),
    "one pair of flat tensors": (lambda: [(X[0], Y[:4])], "may be a sample or a batch of numbers"),
    "ids and mask of one sample": (lambda: [(IDS[0], MASK[0])], "may be a sample or a batch of numbers"),
    "one mapping of flat tensors": (lambda: [{"ids": IDS[0]}], "may be a sample or a batch of numbers"),
    "one flat tensor": (lambda: [X[0]], "torch.stack.samples."),
    "one pair of ids and mask": (lambda: [(IDS, MASK)], "no label per sample"),
    "one image with its label": (
        lambda: [(torch.ones(3, 2, 2), Y[:1])],
        r"batch of 3 samples with 1 labels.*\(x\[None\], y.reshape\(1\)\)",
    ),
    "a tuple of arrays": (lambda: (X.numpy(), Y.numpy()), "yields ndarray.*torch.as_tensor"),
    "a generator of flat tensors": (lambda: iter(X), "may be a sample or a batch"),
    "lists of numbers": (X.tolist, "lists of numbers: pass torch.tensor.data."),
    "pairs of numbers in lists": (lambda: [[0.5, 1], [0.25, 0]], "lists of numbers"),
    "one pair of numbers": (lambda: [[0.5, 1]], "lists of numbers"),
    "ragged samples": (lambda: [([1, 2], 0), ([1], 1)], "sample 1 has shape .1,. and sample 0 has .2,.; pad"),
    "ragged tensors": (lambda: [(X[0], 0), (X[0, :2], 1)], "pad all to one length"),
    "ragged lists": (lambda: {"ids": [[1, 2], [3]]}, "different lengths.*padding=True"),
    "ragged columns": (lambda: datasets.Dataset.from_dict({"ids": [[1, 2], [3]]}), "column 'ids'.*pad"),
    "a column of words": (lambda: datasets.Dataset.from_dict({"text": ["a", "b"]}), "'text' holds str"),
    "several splits": (
        lambda: datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows_of_tokens())}),
        "DatasetDict of train",
    ),
    "rows without a format in a loader": (
        lambda: DataLoader(datasets.Dataset.from_dict(rows_of_tokens()), 2),
        "list of tensors.*with_format",
    ),
    "samples of other inputs": (lambda: [{"a": 1.0}, {"b": 1.0}], "sample 1 has the inputs b"),
    "a batch sampler that shuffles": (
        lambda: DataLoader(TensorDataset(X), batch_sampler=BatchSampler(RandomSampler(X), 2, False)),
        "shuffles .RandomSampler.*shuffle=False",
    ),
    "a distributed sampler": (
        lambda: DataLoader(TensorDataset(X), sampler=DistributedSampler(X, 1, 0, shuffle=True)),
        "shuffles .DistributedSampler",
    ),
    "an iterable that shuffles": (Shuffled, "augments or shuffles"),
    "an empty generator": (lambda: iter([]), "holds no samples: the iterator was read before"),
    "an empty list": (list, "holds no samples"),
    "an empty table": (lambda: datasets.Dataset.from_dict({"ids": []}), "holds no samples"),
    "texts": (lambda: ["a text", "another"], "yields str.*tokenizer.texts, padding=True"),
    "two inputs beside labels": (lambda: [((X, X), Y)], "yields tuple.*names what the model takes"),
    "arrays": (lambda: [X.numpy()], "yields ndarray.*torch.as_tensor"),
    "a nested tensor": (nested, "to_padded_tensor"),
    "a sample that is no number": (lambda: torch.stack([X[0], X[1] * np.nan]), "sample 1 has NaN"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_could_be_taken_in_two_ways_is_refused(form: str) -> None:
    make, match = REFUSED[form]
    with pytest.raises((TypeError, ValueError), match=match):
        Samples(make(), name="train")


def test_a_transform_that_augments_is_seen() -> None:
    class Noisy(Dataset):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return X[index] + torch.rand(()), int(Y[index])

    with pytest.raises(ValueError, match="augments"):
        Samples(Noisy())


FUNCTIONS = {
    "kernel_matrix": lambda model, data: kernels.kernel_matrix(model, data, normalize=False).matrix,
    "rectangular": lambda model, data: kernels.kernel_matrix(model, X, data, normalize=False).matrix,
    "sketched": lambda model, data: kernels.kernel_matrix(model, data, sketch="countsketch", dim=8).matrix,
    "kernel_features": lambda model, data: kernels.kernel_features(model, data, dim=8).values,
    "autograd_kernel": lambda model, data: kernels.autograd_kernel(model, data),
    "layer_jacobians": lambda model, data: kernels.layer_jacobians(model, data)["0.weight"],
    "fisher_blocks": lambda model, data: kernels.fisher_blocks(model, data)["0.weight"].matrix,
    "layer_factors": lambda model, data: torch.cat([part.logits for part in kernels.layer_factors(model, data)]),
    "layer_features": lambda model, data: next(kernels.layer_features(model, data)).features["0"],
    "fit_ekfac": lambda model, data: (
        kernels.fit_ekfac(model, data, fisher="empirical").blocks["0.weight+0.bias"].eigenvalues
    ),
    "influence_scores": lambda model, data: kernels.influence_scores(
        model, kernels.fit_ekfac(model, X), data, X[:2], test_labels=Y[:2]
    ),
    "influence of test points": lambda model, data: kernels.influence_scores(
        model, kernels.fit_ekfac(model, X), X, data, labels=Y
    ),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_reads_a_generator_once(function: str) -> None:
    call = FUNCTIONS[function]
    assert torch.equal(call(linear(), (pair for pair in PAIRS)), call(linear(), DataLoader(TensorDataset(X, Y), 2)))


def test_one_sample_without_a_first_axis_is_named() -> None:
    with pytest.raises(ValueError, match=r"one axis, of which each number is a sample \(mat1.*x\[None\]"):
        kernels.kernel_matrix(linear(), X[0])


def test_a_conjugated_view_is_read() -> None:
    z = torch.complex(X[:, :2], X[:, 2:])
    assert Samples(z.conj()).digest() == Samples(z.conj().resolve_conj()).digest()


def test_an_input_that_the_model_does_not_take_is_named() -> None:
    with pytest.raises(TypeError, match="takes no input 'idx': leave it out.*it takes ids, attention_mask"):
        kernels.kernel_matrix(Reader().eval(), {"ids": IDS, "idx": torch.arange(6)})
