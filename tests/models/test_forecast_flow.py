import math

import pytest
import torch
from torch import Tensor, nn

from models.forecast.flow import Flow

torch.set_num_threads(1)
SIZE, CONDITION = 6, 3


@pytest.fixture
def flow() -> Flow:
    """A small flow far from the identity, in double precision, its running statistics not trivial."""
    generator = torch.Generator().manual_seed(0)
    made = Flow(SIZE, CONDITION, blocks=3, inner=8, depth=3).double()
    for name, value in made.state_dict().items():
        noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        value.copy_(noise.abs() + 0.3 if name.endswith("running_var") else 0.5 * noise)
    return made.eval()


def inputs(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(count, SIZE, generator=generator, dtype=torch.float64),
        torch.randn(count, CONDITION, generator=generator, dtype=torch.float64),
    )


def test_inverse_undoes_forward(flow: Flow) -> None:
    values, condition = inputs(16)
    base, _ = flow(values, condition)
    assert (base - values).abs().max() > 0.5
    torch.testing.assert_close(flow.inverse(base, condition), values, rtol=0, atol=1e-9)


def test_every_number_is_changed_and_the_condition_matters(flow: Flow) -> None:
    values, condition = inputs(4)
    base, _ = flow(values, condition)
    assert ((base - values).abs().amin(dim=0) > 0).all()
    assert ((flow(values, condition + 1)[0] - base).abs().amax(dim=0) > 1e-3).all()


def test_log_determinant_is_that_of_the_jacobian(flow: Flow) -> None:
    values, condition = inputs(5)
    _, log_determinant = flow(values, condition)
    for value, given, claimed in zip(values, condition, log_determinant, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x, h=given: flow(x[None], h[None])[0][0], value)
        torch.testing.assert_close(claimed, torch.linalg.slogdet(jacobian).logabsdet)


def test_log_prob_is_the_change_of_variables(flow: Flow) -> None:
    values, condition = inputs(3)
    claimed = flow.log_prob(values, condition)
    for value, given, density in zip(values, condition, claimed, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x, h=given: flow(x[None], h[None])[0][0], value)
        base = flow(value[None], given[None])[0][0]
        expected = torch.linalg.det(jacobian).abs()
        for number in base:
            expected = expected * torch.exp(-(number**2) / 2) / math.sqrt(2 * math.pi)
        torch.testing.assert_close(density, torch.log(expected))


def test_density_integrates_to_one() -> None:
    torch.manual_seed(0)
    flow = Flow(2, 1, blocks=2, inner=4, depth=2).double().eval()
    for parameter in flow.parameters():
        nn.init.normal_(parameter, std=0.4)
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = torch.exp(flow.log_prob(grid, torch.ones(len(grid), 1, dtype=torch.float64)))
    assert float(density.sum()) * 0.04**2 == pytest.approx(1.0, abs=1e-3)


def test_training_normalises_by_the_batch_and_follows_it_slowly(flow: Flow) -> None:
    values, condition = inputs(64)
    norm = flow.layers[1].train()
    before = norm.running_mean.clone()
    result, log_determinant = norm(values * 3 + 5, condition)
    plain = (result - norm.bias) / torch.exp(norm.log_gain)
    torch.testing.assert_close(plain.mean(0), torch.zeros(SIZE, dtype=torch.float64))
    expected = (norm.log_gain - torch.log((values * 3).std(0, correction=0))).sum()
    torch.testing.assert_close(log_determinant, expected, rtol=0, atol=1e-3)
    assert ((norm.running_mean - before).abs() < (5 + values.mean(0) * 3 - before).abs()).all()
    assert not torch.equal(norm.running_mean, before)


def test_a_fresh_flow_is_the_identity() -> None:
    flow = Flow(SIZE, CONDITION, blocks=4, inner=8, depth=2).eval()
    values = torch.randn(4, SIZE)
    base, _ = flow(values, torch.randn(4, CONDITION))
    torch.testing.assert_close(base, values, rtol=1e-3, atol=1e-3)
