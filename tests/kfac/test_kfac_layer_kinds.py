"""Every kind of layer against dense matrices that are found without the package's code."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from kfac_nets import distance, kfac_of
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp

from agvm_mm.models.nfnet import ScaledWSConv2d

DOUBLE = torch.float64
DAMPING = 0.1
Make = Callable[[], nn.Module]

# The layer, and the shape of an image's input.
LAYERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    'linear on five dimensions': (lambda: nn.Linear(3, 2), (2, 1, 3, 3)),
    'conv1d': (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (4, 7)),
    'conv1d without bias': (lambda: nn.Conv1d(3, 2, 2, dilation=2, bias=False), (3, 5)),
    'depthwise': (lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3), (3, 4, 3)),
    'grouped': (lambda: nn.Conv2d(4, 6, (2, 3), stride=(1, 2), groups=2), (4, 4, 5)),
    'reflected': (lambda: nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode='reflect'), (2, 4, 3)),
    'circular': (lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode='circular'), (2, 3, 4)),
    'same': (lambda: nn.Conv2d(2, 2, (2, 3), padding='same', dilation=(1, 2)), (2, 4, 4)),
    'padded to fit': (lambda: Conv2dAdaptivePadding(2, 3, 3, stride=2), (2, 6, 5)),
    'padded to fit, depthwise': (lambda: Conv2dAdaptivePadding(3, 3, 5, 2, groups=3), (3, 7, 4)),
    'padded to fit, dilated': (
        lambda: Conv2dAdaptivePadding(2, 2, (2, 3), (1, 3), dilation=(3, 1), bias=False),
        (2, 5, 8),
    ),
    'padded to fit, skipping': (lambda: Conv2dAdaptivePadding(2, 2, 1, stride=2), (2, 4, 5)),
    'valid': (lambda: nn.Conv2d(2, 2, 3, padding='valid'), (2, 4, 4)),
    'conv3d': (
        lambda: nn.Conv3d(4, 2, (2, 3, 1), (1, 2, 1), (1, 0, 0), (2, 1, 1), groups=2),
        (4, 3, 5, 2),
    ),
    'mask head': (lambda: nn.ConvTranspose2d(3, 2, 2, stride=2), (3, 2, 3)),
    'transposed': (
        lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2),
        (4, 3, 2),
    ),
    'transposed, cut': (
        lambda: nn.ConvTranspose2d(2, 3, (3, 2), (3, 1), (2, 1), dilation=(1, 2), bias=False),
        (2, 3, 4),
    ),
    'transposed, with holes': (lambda: nn.ConvTranspose2d(2, 2, 1, stride=2), (2, 2, 3)),
    'transposed, dilated': (lambda: nn.ConvTranspose2d(2, 2, 2, 1, 3, dilation=3), (2, 5, 4)),
    'transposed, one dimension': (lambda: nn.ConvTranspose1d(2, 4, 3, 2, 1, groups=2), (2, 4)),
    'transposed, three dimensions': (
        lambda: nn.ConvTranspose3d(2, 2, 2, (1, 2, 1), (1, 0, 0)),
        (2, 3, 2, 2),
    ),
}


def loss_of(outputs: Tensor) -> Tensor:
    """Mean over images of a loss in which every output has a gradient of its own."""
    weights = torch.arange(1.0, 1 + outputs[0].numel(), dtype=DOUBLE).cos().view_as(outputs[0])
    return (torch.tanh(outputs) * weights).flatten(1).sum(1).mean()


def rows_of(layer: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of the outputs by the parameters, (positions, outputs, parameters), and the
    outputs' gradients of each image's own loss, (positions, outputs); by autograd alone."""
    axis = -1 if isinstance(layer, nn.Linear) else 1
    parameters = dict(layer.named_parameters())
    jacobians = jacrev(lambda p: functional_call(layer, p, inputs))(parameters)
    outputs = layer(inputs).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(outputs), outputs)
    count = gradient.shape[axis]
    parts = [
        jacobian.flatten(gradient.ndim).movedim(axis % gradient.ndim, -2).reshape(-1, count, size)
        for jacobian, size in ((jacobians[k], p.numel()) for k, p in parameters.items())
    ]
    gradients = len(inputs) * gradient.movedim(axis, -1).reshape(-1, count)
    return torch.cat(parts, 2).detach(), gradients


def dense(derivatives: Tensor, outer: Tensor, gradient: Tensor, images: int) -> Tensor:
    """(G (x) A + damping)^-1 times a gradient, both over all parameters; groups one by one.

    Outputs of a group have the same derivatives by their own parameters.
    """
    new, uses = gradient.clone(), derivatives.abs().sum(0) > 0
    own = [use.nonzero().flatten() for use in uses]
    groups: dict[bytes, list[int]] = {}
    for output, indices in enumerate(own):
        key = derivatives[:, output, indices].numpy().round(9).tobytes()
        groups.setdefault(key, []).append(output)
    for members in groups.values():
        rows = derivatives[:, members[0], own[members[0]]]
        a = rows.T @ rows / images
        g = outer[:, members].T @ outer[:, members] / len(outer)
        matrix = torch.stack([gradient[own[output]] for output in members])
        block = torch.kron(g, a) + DAMPING * torch.eye(matrix.numel(), dtype=DOUBLE)
        solved = torch.linalg.solve(block, matrix.flatten()).view_as(matrix)
        for output, row in zip(members, solved):
            new[own[output]] = row
    return new


def gradient_of(layer: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in layer.parameters()])


def step(layer: nn.Module, calls: Callable[[], Tensor], images: int, **settings: Any) -> Any:
    """The gradient before and after K-FAC."""
    kfac = kfac_of(layer, solver='eigen', **settings)
    with kfac.around_backward(0, 1, images):
        calls().backward()
    before = gradient_of(layer).clone()
    kfac.step(0, {})
    return before, gradient_of(layer), kfac


@pytest.mark.parametrize('kind', LAYERS)
def test_a_kind_of_layer(kind: str) -> None:
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    layer, inputs = make().double(), torch.randn(3, *shape, dtype=DOUBLE)
    before, after, kfac = step(layer, lambda: loss_of(layer(inputs)), 3)
    assert kfac.left == {}
    expected = dense(*rows_of(layer, inputs), before, 3)
    assert distance(after, expected) < 1e-10
    assert distance(after, before) > 0.1


@pytest.mark.parametrize('kind', ['linear on five dimensions', 'conv1d', 'transposed', 'conv3d'])
def test_calls_of_different_shapes(kind: str) -> None:
    """Two levels of a pyramid, the second one larger: all positions count together."""
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    larger = (shape[0], *(size + 1 for size in shape[1:-1]), shape[-1])
    layer, images = make().double(), [torch.randn(3, *s, dtype=DOUBLE) for s in (shape, larger)]
    before, after, _ = step(layer, lambda: sum(loss_of(layer(one)) for one in images), 3)
    derivatives, outer = (torch.cat(parts) for parts in zip(*(rows_of(layer, x) for x in images)))
    assert distance(after, dense(derivatives, outer, before, 3)) < 1e-10


@pytest.mark.parametrize('kind', ['conv1d', 'mask head'])
def test_a_single_image_without_a_batch(kind: str) -> None:
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    layer, image = make().double(), torch.randn(1, *shape, dtype=DOUBLE)
    before, after, _ = step(layer, lambda: loss_of(layer(image[0])[None]), 1)
    assert distance(after, dense(*rows_of(layer, image), before, 1)) < 1e-10


def test_a_call_chooses_the_size_of_its_output() -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1).double()
    twin = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=(0, 1)).double()
    twin.load_state_dict(layer.state_dict())
    images = torch.randn(3, 2, 3, 3, dtype=DOUBLE)
    before, after, _ = step(layer, lambda: loss_of(layer(images, output_size=(5, 6))), 3)
    assert distance(after, dense(*rows_of(twin, images), before, 3)) < 1e-10


def test_no_region_reaches_a_transposed_convolution() -> None:
    layer = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ConvTranspose2d(2, 3, 2, stride=2)).double()
    kfac = kfac_of(layer)
    with kfac.around_backward(0, 1, 2):
        layer(torch.randn(0, 2, 3, 3, dtype=DOUBLE)).sum().backward()
    kfac.step(0, {})
    assert [one.solved for one in kfac.layers] == [False, False]


def test_a_grid_of_a_transposed_convolution_is_right_on_average() -> None:
    """Of the 36 positions a grid of step 2 draws 9; over all four grids A is the whole A."""
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(2, 3, 2, stride=2).double()
    images, seen = torch.randn(3, 2, 3, 3, dtype=DOUBLE), {}
    for update in range(60):
        kfac = kfac_of(layer, max_positions=9)
        kfac.before_update(update)
        with kfac.around_backward(0, 1, 3):
            loss_of(layer(images)).backward()
        (sums,) = (one.sums for one in kfac.layers)
        seen[tuple(sums[0].flatten().tolist())] = sums[0].tril()
    rows, _ = rows_of(layer, images)
    own = (rows[:, 0].abs().sum(0) > 0).nonzero().flatten()
    turned = own.view(-1)[: 2 * 4].view(2, 2, 2).flip(1, 2).flatten()
    rows = rows[:, 0, torch.cat([turned, own[8:]])]
    assert len(seen) == 4
    assert distance(sum(seen.values()) / 4, (rows.T @ rows).tril()[None]) < 1e-12


STANDARDIZED: dict[str, Make] = {
    'ours': lambda: ScaledWSConv2d(4, 6, 3, groups=2, padding=1),
    'ours, same': lambda: ScaledWSConv2d(2, 3, 3, stride=2, padding='same', bias=False),
    'mmcv': lambda: ConvWS2d(4, 2, 2, groups=2, stride=2),
    'adaptive': lambda: ConvAWS2d(2, 3, 3, padding=1),
}


def plain(module: Any) -> nn.Conv2d:
    """The same window without standardisation."""
    copied = nn.Conv2d(
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        module.stride,
        module.padding,
        groups=module.groups,
        bias=module.bias is not None,
    ).double()
    copied.weight.data.copy_(module.weight.data)
    return copied


def factor_by_autograd(module: Any, images: Tensor) -> Tensor:
    """s of every output: what a change of the weight that has no mean and no part along the weight
    does to the outputs, over what it does to those of a plain convolution."""
    weight = module.weight.detach()
    centred = (weight - weight.mean((1, 2, 3), keepdim=True)).flatten(1)
    change = torch.randn_like(centred)
    change = change - change.mean(1, keepdim=True)
    along = (change * centred).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True)
    change = (change - along * centred).view_as(weight)
    _, moved = jvp(lambda w: functional_call(module, {'weight': w}, images), (weight,), (change,))
    bare = plain(module)
    bare.weight.data.copy_(change)
    if bare.bias is not None:
        bare.bias.data.zero_()
    still = bare(images if not getattr(module, 'same', False) else nn.functional.pad(images, SAME))
    largest = still.detach().abs().movedim(1, 0).flatten(1).max(1).indices
    pick = torch.arange(len(weight))
    return (moved.movedim(1, 0).flatten(1) / still.movedim(1, 0).flatten(1))[pick, largest].detach()


SAME = (0, 1, 0, 1)  # of stride 2 and a kernel of 3 on 4 pixels, as TensorFlow pads


@pytest.mark.parametrize('kind', STANDARDIZED)
def test_a_standardised_convolution(kind: str) -> None:
    torch.manual_seed(0)
    module: Any = STANDARDIZED[kind]().double()
    images = torch.randn(3, module.in_channels, 4, 4, dtype=DOUBLE)
    if 'ours' in kind:
        module.gain.data.uniform_(0.5, 2.0)
    else:
        module.weight.data += 0.3
    if kind == 'adaptive':
        module.weight_gamma.uniform_(0.5, 2.0)
    _, _, kfac = step(module, lambda: loss_of(module(images)), 3)
    after = {name: p.grad.clone() for name, p in module.named_parameters()}
    module.zero_grad()
    loss_of(module(images)).backward()
    s = factor_by_autograd(module, images)
    bare = plain(module)
    padded = nn.functional.pad(images, SAME) if kind == 'ours, same' else images
    rows, _ = rows_of(bare, padded)
    outputs = module(images).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(outputs), outputs)
    outer = 3 * gradient.movedim(1, -1).flatten(0, -2) * s
    size = module.weight[0].numel()
    weights = rows[:, :, : module.weight.numel()].unflatten(2, (len(s), size))
    weights = weights.clone()
    for o in range(len(s)):
        weights[:, o, o] -= weights[:, o, o].mean(1, keepdim=True)
    rows = torch.cat([weights.flatten(2), rows[:, :, module.weight.numel() :]], 2)
    parts = [module.weight.grad.flatten()]
    parts += [] if module.bias is None else [module.bias.grad * s]
    expected = dense(rows, outer, torch.cat(parts), 3)
    assert distance(after['weight'].flatten(), expected[: module.weight.numel()]) < 1e-9
    if module.bias is not None:
        assert distance(after['bias'], expected[module.weight.numel() :] * s) < 1e-9
    means = after['weight'].mean((1, 2, 3))
    assert means.abs().max() < 1e-9 * after['weight'].abs().max()
    if 'ours' in kind:
        assert kfac.left == {'gain': 'no weight or bias of ScaledWSConv2d'}
        assert torch.equal(after['gain'], module.gain.grad)


class Attention(nn.Module):
    """Torch's multi-head attention written out, with four Linears that are called."""

    def __init__(self, given: nn.MultiheadAttention) -> None:
        super().__init__()
        size, self.heads = given.embed_dim, given.num_heads
        thirds = (
            [given.q_proj_weight, given.k_proj_weight, given.v_proj_weight]
            if given.in_proj_weight is None
            else given.in_proj_weight.split(size)
        )
        biases = [None] * 3 if given.in_proj_bias is None else given.in_proj_bias.split(size)
        out = given.out_proj
        for name, weight, bias in zip('qkvo', [*thirds, out.weight], [*biases, out.bias]):
            layer = nn.Linear(weight.shape[1], size, bias=bias is not None).to(weight.dtype)
            layer.weight.data.copy_(weight.data)
            if bias is not None:
                layer.bias.data.copy_(bias.data)
            setattr(self, name, layer)
        self.calls: dict[str, tuple[Tensor, Tensor]] = {}

    def use(self, name: str, inputs: Tensor) -> Tensor:
        output = getattr(self, name)(inputs)
        output.retain_grad()
        self.calls[name] = inputs, output
        return output

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """(images, length, size) each; a mask of -inf is added to the scores."""
        q, k, v = (
            self.use(name, x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for name, x in zip('qkv', (query, key, value))
        )
        scores = q @ k.mT / q.shape[-1] ** 0.5
        scores = scores if mask is None else scores + mask
        return self.use('o', (scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def preconditioned(self, images: int) -> dict[str, list[Tensor]]:
        found = {}
        for name, (inputs, output) in self.calls.items():
            layer = getattr(self, name)
            xs = inputs.detach().flatten(0, 1)
            gs = images * output.grad.flatten(0, 1)
            matrix = layer.weight.grad
            if layer.bias is not None:
                xs = torch.cat([xs, xs.new_ones(len(xs), 1)], 1)
                matrix = torch.cat([matrix, layer.bias.grad[:, None]], 1)
            block = torch.kron(gs.T @ gs / len(gs), xs.T @ xs / images)
            block += DAMPING * torch.eye(len(block), dtype=DOUBLE)
            solved = torch.linalg.solve(block, matrix.flatten()).view_as(matrix)
            width = layer.weight.shape[1]
            found[name] = [solved[:, :width], solved[:, width:].flatten()]
        return found


# Options of the module; which inputs are the same; options of the call.
ATTENTIONS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    'of itself': ({}, 'qqq', dict(need_weights=False)),
    'with weights': ({}, 'qqq', {}),
    'batch first': (dict(batch_first=True), 'qqq', {}),
    'queries with positions': (dict(batch_first=True), 'qqv', {}),
    'of others': ({}, 'qkk', {}),
    'of others, batch first': (dict(batch_first=True), 'qkk', dict(need_weights=False)),
    'three inputs': ({}, 'qkv', {}),
    'without bias': (dict(bias=False), 'qkv', {}),
    'other sizes': (dict(kdim=3, vdim=5), 'qkv', {}),
    'other sizes without bias': (dict(kdim=3, vdim=5, bias=False, batch_first=True), 'qkv', {}),
    'masked': ({}, 'qqq', dict(mask=True)),
}


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('kind', ATTENTIONS)
def test_an_attention(kind: str, training: bool) -> None:
    torch.manual_seed(0)
    options, same, call = copy.deepcopy(ATTENTIONS[kind])
    module = nn.MultiheadAttention(4, 2, **options).double().train(training)
    for parameter in module.parameters():
        parameter.data.normal_()
    lengths, sizes = dict(q=5, k=3, v=3), dict(q=4, k=module.kdim, v=module.vdim)
    if same == 'qqv':
        lengths['v'] = 5
    inputs = {name: torch.randn(3, lengths[name], sizes[name], dtype=DOUBLE) for name in 'qkv'}
    mask = torch.full((5, 5), -torch.inf, dtype=DOUBLE).triu(1) if call.pop('mask', 0) else None
    ordered = {name: x if module.batch_first else x.transpose(0, 1) for name, x in inputs.items()}

    def loss() -> Tensor:
        outputs = module(*(ordered[name] for name in same), attn_mask=mask, **call)[0]
        return loss_of(outputs if module.batch_first else outputs.transpose(0, 1))

    twin = Attention(module)
    loss_of(twin(*(inputs[name] for name in same), mask)).backward()
    before, after, kfac = step(module, loss, 3)
    assert kfac.left == {}
    assert [layer.name for layer in kfac.layers] == ['q', 'k', 'v', 'out_proj']
    expected = twin.preconditioned(3)
    weights, biases = zip(*(expected[name] for name in 'qkv'))
    ours = (
        [module.in_proj_weight.grad]
        if module.in_proj_weight is not None
        else [module.q_proj_weight.grad, module.k_proj_weight.grad, module.v_proj_weight.grad]
    )
    theirs = [torch.cat(weights)] if len(ours) == 1 else list(weights)
    for found, wanted in zip(
        [*ours, module.out_proj.weight.grad], [*theirs, expected['o'][0]], strict=True
    ):
        assert distance(found, wanted) < 1e-9
    if module.in_proj_bias is not None:
        assert distance(module.in_proj_bias.grad, torch.cat(biases)) < 1e-9
        assert distance(module.out_proj.bias.grad, expected['o'][1]) < 1e-9
    assert distance(after, before) > 0.1
