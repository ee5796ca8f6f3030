"""The transformer, its lock-step driver with candidate elimination, and the centre head."""
from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
import torch
from transformer_kit import TINY

from rgbt_tracker_ros.models import lockstep
from rgbt_tracker_ros.models.draws import uniform
from rgbt_tracker_ros.models.lockstep import Elimination, Stream
from rgbt_tracker_ros.models.paper_head import TowerHead, corner_boxes, decode
from rgbt_tracker_ros.models.vit import TransformerConfig, ViT

SIZES = TransformerConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in TINY.items()})
NZ, NX = 16, 64


def vit(seed: int = 0, **sizes) -> ViT:
    torch.manual_seed(seed)
    net = ViT(TransformerConfig(**SIZES.as_dict() | sizes))
    torch.nn.init.normal_(net.pos_embed_x, std=0.5)
    for block in net.blocks:  # attention that is not flat
        torch.nn.init.normal_(block.attn.qkv.weight, std=0.2)
    return net


def tokens(net: ViT, seed: int = 1, b: int = 3) -> torch.Tensor:
    torch.manual_seed(seed)
    z, x = torch.randn(b, 3, 32, 32), torch.randn(b, 3, 64, 64)
    return torch.cat((net.embed_template(net.patch_embed(z)),
                      net.embed_search(net.patch_embed(x))), 1)


@pytest.mark.parametrize(('keep', 'start', 'counts'), [
    (0.7, 256, [180, 126, 89]), (0.7, 64, [45, 32, 23]), (1.0, 64, [64, 64, 64]),
    (0.7, 10, [7, 5, 4]), (0.1, 30, [3, 1, 1])])
def test_token_counts_of_elimination(keep, start, counts):
    """P7: 256, 180, 126, 89 at full scale."""
    elimination = Elimination((0, 1, 2), keep, True)
    found = []
    for _ in counts:
        start = elimination.left_of(start)
        found.append(start)
    assert found == counts


def test_parameters_have_the_names_of_public_checkpoints():
    names = set(vit(depth=1).state_dict())
    assert names == {
        'patch_embed.proj.weight', 'patch_embed.proj.bias', 'pos_embed_z', 'pos_embed_x',
        'norm.weight', 'norm.bias', *(f'blocks.0.{part}.{p}' for p in ('weight', 'bias')
                                      for part in ('norm1', 'attn.qkv', 'attn.proj', 'norm2',
                                                   'mlp.fc1', 'mlp.fc2'))}


@pytest.mark.parametrize(('size', 'stride', 'index'), [(128, 16, 3 * 8 + 3), (32, 8, 4 + 1),
                                                       (40, 8, 2 * 5 + 2)])
def test_centre_token_of_the_template(size, stride, index):
    assert vit(template_size=size, stride=stride, search_size=64).centre == index


def test_attention_row_is_that_of_the_whole_map():
    net = vit()
    attention, x = net.blocks[0].attn, torch.randn(2, 80, 48)
    out, row = attention(x, 5)
    q, k, v = attention.qkv(x).view(2, 80, 3, 4, 12).permute(2, 0, 3, 1, 4)
    whole = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(12), -1)
    torch.testing.assert_close(row, whole[:, :, 5])
    torch.testing.assert_close(out, attention.proj((whole @ v).transpose(1, 2).flatten(2)))
    assert attention(x)[1] is None


def test_scatter_restores_raster_order():
    """P7."""
    net = vit()
    net.norm = torch.nn.Identity()
    b = 2
    numbers = torch.arange(1, NX + 1.0).expand(b, NX)[:, :, None].expand(-1, -1, 48)
    stream = Stream(net, torch.cat((torch.zeros(b, NZ, 48), numbers), 1))
    g = torch.Generator().manual_seed(0)
    left = torch.arange(NX).expand(b, NX)
    for count in (45, 32, 23):  # unsorted, and other cells in every sample
        stay = torch.stack([torch.randperm(left.shape[1], generator=g)[:count] for _ in range(b)])
        left = left.gather(1, stay)
        stream.drop(stay)
    whole = stream.search_tokens()[:, :, 0]
    for sample, kept in zip(whole, left, strict=True):
        expected = torch.zeros(NX).index_put_((kept,), kept + 1.0)
        assert torch.equal(sample, expected)
    assert torch.equal(stream.search_map()[:, 0].flatten(1), whole)


def test_who_leaves_early_is_seen_as_it_was_then():
    net = vit()
    stream = Stream(net, tokens(net))
    seen = stream.tokens[:, NZ:].clone()
    for count in (45, 32):
        stay = torch.rand(3, stream.tokens.shape[1] - NZ).topk(count, 1).indices.sort(1).values
        stream.drop(stay, leave=True)
        # what is still there goes on
        stream.tokens = stream.tokens + 1
        seen.scatter_add_(1, stream.kept[:, :, None].expand(-1, -1, 48), torch.ones(3, count, 48))
    torch.testing.assert_close(stream.search_tokens(), net.norm(seen))


def two_streams() -> list[Stream]:
    nets = [vit(0), vit(1)]
    return [Stream(net, tokens(net, n)) for n, net in enumerate(nets)]


@pytest.mark.parametrize('together', [True, False])
@pytest.mark.parametrize('leave', [True, False])
def test_keeping_all_changes_nothing(together, leave):
    """P7."""
    plain, kept = two_streams(), two_streams()
    lockstep.run(plain)
    lockstep.run(kept, elimination=Elimination((1, 2, 3), 1.0, together, leave=leave))
    for a, b in zip(plain, kept, strict=True):
        torch.testing.assert_close(a.search_tokens(), b.search_tokens())


@pytest.mark.parametrize('together', [True, False])
def test_vote(together):
    streams = two_streams()
    rows = [s.vit.blocks[0].attend(s.tokens, row=s.vit.centre)[1][:, :, NZ:] for s in streams]
    if together:  # maximum of the modalities first, then the mean over the heads
        rows = [torch.maximum(*rows)] * 2
    wanted = [r.mean(1).topk(45, 1).indices.sort(1).values for r in rows]
    lockstep.run(streams, elimination=Elimination((0,), 0.7, together))
    for stream, indices in zip(streams, wanted, strict=True):
        assert torch.equal(stream.kept, indices)
        assert [x.shape[1] for x in stream.blocks] == [NZ + 45] * 4
    assert torch.equal(streams[0].kept, streams[1].kept) == together


def test_who_has_no_vote_follows():
    """P7: by one set of indices."""
    nets = [vit(n) for n in range(3)]
    streams = [Stream(net, tokens(net, n)) for n, net in enumerate(nets)]
    alone = [Stream(net, tokens(net, n)) for n, net in enumerate(nets[:2])]
    elimination = Elimination((1, 2), 0.7, True)
    lockstep.run(streams, elimination=elimination, voters=2)
    lockstep.run(alone, elimination=elimination)
    assert [s.kept.shape[1] for s in streams] == [32] * 3
    for stream in streams:
        assert torch.equal(stream.kept, alone[0].kept)


def test_streams_of_other_depths_are_refused():
    nets = [vit(), vit(depth=2)]
    with pytest.raises(ValueError, match=r'depths \[2, 4\]'):
        lockstep.run([Stream(net, tokens(net)) for net in nets])


def test_draws_depend_on_seed_and_index_alone():
    index = torch.tensor([3, 2**40, 5, 0])
    whole = uniform(7, index, 1000)
    assert torch.equal(whole, torch.cat([uniform(7, i[None], 1000) for i in index]))
    assert torch.equal(whole[:, :10], uniform(7, index, 10))
    assert whole.min() >= 0 and whole.max() < 1
    assert whole.mean().item() == pytest.approx(0.5, abs=0.03)
    for other in (uniform(8, index, 1000), uniform(7, index + 1, 1000),
                  uniform(7, index, 1000, stream=1)):
        assert abs(torch.corrcoef(torch.stack((whole.flatten(), other.flatten())))[0, 1]) < 0.07


def test_stochastic_depth():
    net = vit(drop_path=0.4)
    index = torch.arange(4000)
    gates = net.drop_gates(0, index, 0)
    assert torch.equal(gates[:, :, 7:9], net.drop_gates(0, index[7:9], 0))
    assert torch.equal(gates[0], torch.ones(2, 4000))      # the first block is never skipped
    torch.testing.assert_close((gates == 0).float().mean((1, 2)),
                               torch.tensor([0, 0.4 / 3, 0.8 / 3, 0.4]), atol=0.03, rtol=0)
    torch.testing.assert_close(gates.mean((1, 2)), torch.ones(4), atol=0.03, rtol=0)
    assert net.eval().drop_gates(0, index, 0) is None
    assert vit(drop_path=0.0).drop_gates(0, index, 0) is None


size = st.floats(1, 256)


@given(x=st.floats(-100, 250), y=st.floats(-100, 250), w=size, h=size,
       cells=st.sampled_from([8, 16]))
def test_decode_undoes_encode(x, y, w, h, cells):
    """P2: by the head."""
    crop = 16 * cells
    box = torch.tensor([[x, y, min(w, crop), min(h, crop)]], dtype=torch.float64)
    centre = (box[:, :2] + box[:, 2:] / 2) / crop * cells
    cell = centre.round().clamp(0, cells - 1)
    score = torch.randn(1, 1, cells, cells)
    sizes, offsets = torch.rand(2, 1, 2, cells, cells, dtype=torch.float64)
    column, row = (int(v) for v in cell[0])
    score[0, 0, row, column] = 9.0
    sizes[0, :, row, column], offsets[0, :, row, column] = box[:, 2:] / crop, centre - cell
    corners = torch.cat((box[:, :2], box[:, :2] + box[:, 2:]), 1)
    torch.testing.assert_close(decode(score, sizes, offsets) * crop, corners)
    torch.testing.assert_close(corner_boxes(sizes, offsets, crop)[:, :, row, column], corners)


def test_head_gives_maps_in_range():
    torch.manual_seed(0)
    score, sizes, offset = TowerHead(12, (8, 4))(10 * torch.randn(2, 12, 8, 8))
    assert (score.shape, sizes.shape, offset.shape) == ((2, 1, 8, 8), (2, 2, 8, 8), (2, 2, 8, 8))
    assert 0 <= sizes.min() and sizes.max() <= 1


def test_gradients_of_decode_reach_one_cell():
    score = torch.randn(1, 1, 8, 8)
    sizes, offset = (torch.rand(1, 2, 8, 8, requires_grad=True) for _ in range(2))
    decode(score, sizes, offset).sum().backward()
    place = int(score.argmax())
    # x1 + x2 moves with the offset alone, twice a cell's share
    expected = torch.zeros(2, 64).index_fill(1, torch.tensor([place]), 2 / 8)
    torch.testing.assert_close(offset.grad[0].flatten(1), expected)
    assert sizes.grad.count_nonzero() <= 2
