"""Network for `fragments`: which fragments of a heap belong together, and which touch.

A set transformer (Lee et al., ICML 2019) over all fragments of a heap. Its attention is biased by
what is known of every pair: learned and handcrafted compatibility of their sides, loops of four
fragments that close (Son et al., ECCV 2014), and random walks over the neighbours found so far.
Each round sharpens first the neighbours, then the affinity, each with the help of the other.

Sides are numbered clockwise, 0 = top; a side's pixels are read clockwise, so two touching sides run
in opposite directions. A *block* (a, o) holds, for all pairs (i, j), side a of fragment i against
side (a + 2 + o) mod 4 of fragment j, where o is the quarter turn of i relative to j. Upright heaps
have no blocks but o = 0.

Shapes: B heaps, n fragments, s pixels along a side, O relative turns.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

DEPTH = 8  # rows of a side that its code sees; narrower fragments repeat their last row
WALK_FLOOR = 1e-4  # added before logarithms of walk probabilities


class Blocks:
    """Index tables over the 4 x O blocks, for the relative turns `turns` = [0] or [0, 1, 2, 3].

    Attributes
    ----------
    opposite : (4, O), the side of j that touches side a of i.
    mirror : (4O,), the block that holds the same pair with i and j exchanged.
    step, next, corner : tables for `loops`.
    """

    def __init__(self, turns: Tensor):
        self.count = turns.shape[0]
        # As a tensor: the exporter does not know the remainder by a symbolic size.
        count = torch.ones_like(turns).sum()
        side = torch.arange(4, device=turns.device)[:, None]
        self.opposite = (side + 2 + turns[None]) % 4
        self.mirror = (
            self.opposite * count + (4 - turns[None]) % count
        ).reshape(-1)

        # Loops multiply one 4n x 4n matrix when turned, four n x n matrices when upright.
        batches = 5 - count
        x = torch.arange(5 - self.count, device=turns.device)
        t = turns[None, :, None]
        u = turns[None, None, :]
        # (X, O, O): cross side a + 1.
        self.step = ((x[:, None, None] + t + 1) % 4) * count + (
            (u - t + 5) % 4
        ) % count
        self.next = (x + 3) % batches
        matrix = (side % batches) * count + side // batches
        self.corner = matrix * count + ((side + 1 + turns[None]) % 4) % count

    def exchange_pairs(self, blocks: Tensor) -> Tensor:
        """Blocks (B, 4O, n, n) with i and j exchanged; symmetric blocks stay the same."""
        return blocks[:, self.mirror].transpose(-1, -2)

    def loops(self, touching: Tensor) -> Tensor:
        """Probability that two sides are also joined around a common corner, by two others."""
        heaps, _, n, _ = touching.shape
        o = self.count
        dense = touching[:, self.step.reshape(-1)].reshape(
            heaps, -1, o, o, n, n
        )
        dense = dense.transpose(3, 4).reshape(heaps, -1, o * n, o * n)

        second = dense[:, self.next]
        third = second[:, self.next]
        around = (
            ((dense @ second) @ third)
            .reshape(heaps, -1, o, n, o, n)
            .transpose(3, 4)
        )
        return around.reshape(heaps, -1, n, n)[:, self.corner.reshape(-1)]


def side_strips(fragments: Tensor) -> Tensor:
    """The four sides, each turned to the top: (m, 3, s, s) -> (m, 4, 3, DEPTH, s)."""
    rows = torch.arange(DEPTH, device=fragments.device).clamp(
        max=fragments.shape[2] - 1
    )
    across = fragments.transpose(2, 3)

    # As np.rot90 by 0, 1, 2, 3.
    turned = [fragments, across.flip(2), fragments.flip(2, 3), across.flip(3)]
    return torch.stack([t[:, :, rows] for t in turned], 1)


def inverse3(m: Tensor) -> Tensor:
    """Inverse of symmetric positive definite matrices (..., 3, 3), in closed form."""
    a = m[..., 0, 0]
    b = m[..., 0, 1]
    c = m[..., 0, 2]
    d = m[..., 1, 1]
    e = m[..., 1, 2]
    f = m[..., 2, 2]

    # The upper triangle of the adjugate, row by row.
    upper = [
        d * f - e * e,
        c * e - b * f,
        b * e - c * d,
        a * f - c * c,
        b * c - a * e,
        a * d - b * b,
    ]
    determinant = a * upper[0] + b * upper[1] + c * upper[2]
    adjugate = torch.stack([upper[k] for k in (0, 1, 2, 1, 3, 4, 2, 4, 5)], -1)
    return (adjugate / determinant[..., None]).reshape(m.shape)


def gradient_dissimilarity(strips: Tensor, blocks: Blocks) -> Tensor:
    """Mahalanobis gradient dissimilarity of all sides: (B, n, 4, 3, d, s) -> (B, 4O, n, n).

    Source: Gallagher, CVPR 2012.
    """
    # In float64: on flat sides the terms of the quadratic form are a hundred million times its sum.
    size = strips.shape[-1]
    edge = strips[:, :, :, :, 0].double()
    inner = strips[:, :, :, :, 1].double()

    gradient = edge - inner
    mean = gradient.mean(-1, keepdim=True)
    centred = gradient - mean
    noise = 1e-4 * torch.eye(3, device=strips.device).double()  # (2.5 / 255)^2
    covariance = centred @ centred.transpose(-1, -2) / size + noise
    precision = inverse3(covariance)
    expected = edge + mean
    weighted = precision @ expected

    # The quadratic form is multiplied out, so that all pairs are one matrix product.
    constant = (weighted * expected).sum((-1, -2))[..., None]
    query = torch.cat(
        [precision.flatten(3), -2 * weighted.flatten(3), constant], -1
    )
    squares = (edge @ edge.transpose(-1, -2)).flatten(3)
    key = torch.cat(
        [squares, edge.flip(-1).flatten(3), torch.ones_like(constant)], -1
    )
    one_way = products(query, key, blocks)

    both_ways = one_way + blocks.exchange_pairs(one_way)
    return (both_ways.clamp(min=1e-3) / size).float()


def products(query: Tensor, key: Tensor, blocks: Blocks) -> Tensor:
    """All blocks of inner products of side codes: two (B, n, 4, d) -> (B, 4O, n, n)."""
    heaps, n, _, d = query.shape
    keys = key.transpose(1, 2)[:, blocks.opposite.reshape(-1)]
    queries = query.transpose(1, 2)[:, :, None].expand(
        -1, -1, blocks.count, -1, -1
    )
    return queries.reshape(heaps, -1, n, d) @ keys.transpose(-1, -2)


class SideEncoder(nn.Module):
    """Codes of the four sides whose product is a learned Mahalanobis form.

    A code says what a side expects beyond itself, how surely, and what it shows to the other.
    """

    def __init__(
        self,
        context: int,
        width: int = 80,
        code: int = 12,
    ):
        super().__init__()
        self.enter = nn.Conv1d(3 * DEPTH, width, 5, padding=2)
        self.context = nn.Linear(context, width)
        self.middle = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=1) for _ in range(2)
        )
        self.shown = nn.Conv1d(width, code, 3, padding=1)
        self.expected = nn.Conv1d(width, code, 3, padding=1)
        self.certainty = nn.Conv1d(width, code, 3, padding=1)
        self.scale = nn.Parameter(torch.tensor(0.1))

    def forward(
        self,
        strips: Tensor,
        tokens: Tensor,
        blocks: Blocks,
    ) -> Tensor:
        heaps, n, _, _, _, s = strips.shape
        x = self.enter(strips.reshape(heaps * n * 4, -1, s))
        context = (
            self.context(tokens)
            .reshape(heaps * n, 1, -1, 1)
            .expand(-1, 4, -1, -1)
        )
        x = functional.relu(x + context.reshape(heaps * n * 4, -1, 1))
        for layer in self.middle:
            x = x + functional.relu(layer(x))

        # Differences of nearly equal sums need all of float32.
        with torch.autocast(x.device.type, enabled=False):
            shown, expected, certainty = self.codes(x.float())
            weighted = certainty * expected
            constant = (weighted * expected).sum((1, 2))[:, None]
            query = torch.cat(
                [2 * weighted.flatten(1), -certainty.flatten(1), -constant], 1
            )
            squares = shown.square().flatten(1)
            key = torch.cat(
                [shown.flatten(1), squares, torch.ones_like(constant)], 1
            )

            query = query.reshape(heaps, n, 4, -1)
            key = key.reshape(heaps, n, 4, -1)
            one_way = products(query, key, blocks) * (self.scale / s)
            return one_way + blocks.exchange_pairs(one_way)

    def codes(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is shown to the other side, what is expected of it, and how surely."""
        layers = self.shown, self.expected, self.certainty
        weight = torch.cat([layer.weight for layer in layers])
        bias = torch.cat([layer.bias for layer in layers])

        # All three in one convolution, which is faster.
        shown, expected, certainty = functional.conv1d(
            x, weight, bias, padding=1
        ).chunk(3, 1)
        return shown.flip(-1), expected, functional.softplus(certainty)


class FragmentEncoder(nn.Module):
    """Convolutions at three scales, averaged over the fragment: (m, 3, s, s) -> (m, width)."""

    def __init__(self, width: int):
        super().__init__()
        self.fine = nn.Conv2d(3, 32, 3, padding=1)
        self.middle = convolutions(32, 64)
        self.coarse = convolutions(64, 128)
        self.out = nn.Linear(2 * (32 + 64 + 128), width)

    def forward(self, x: Tensor) -> Tensor:
        fine = functional.relu(self.fine(x))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        means = [level.mean((2, 3)) for level in (fine, middle, coarse)]
        squares = [
            level.square().mean((2, 3)) for level in (fine, middle, coarse)
        ]
        return self.out(torch.cat([*means, *squares], 1))


def convolutions(channels: int, width: int) -> nn.Sequential:
    """Two convolutions, the first of which halves the resolution."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, 1, 1),
        nn.ReLU(),
    )


class Attention(nn.Module):
    """Pre-norm transformer layer (Vaswani et al., 2017) with an additive bias for every pair.

    Tokens (B, n, w) and channels of pairs (B, n, n, c) -> tokens.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        channels: int,
    ):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias = nn.Linear(channels, heads)
        self.mix = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, pairs: Tensor) -> Tensor:
        heaps, n, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(heaps, n, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        bias = self.bias(pairs).permute(0, 3, 1, 2)
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // self.heads) + bias

        values = (
            (scores.softmax(-1) @ v).transpose(1, 2).reshape(heaps, n, width)
        )
        x = x + self.out(values)
        return x + self.mix(self.norm2(x))


class Round(nn.Module):
    """Neighbours from the affinity so far, then the affinity from the neighbours."""

    CHANNELS = 4

    def __init__(
        self,
        width: int,
        heads: int,
        layers: int,
        code: int = 64,
    ):
        super().__init__()
        self.from_affinity = nn.Parameter(torch.tensor(0.1))
        self.from_loops = nn.Parameter(torch.tensor(0.5))
        self.loop_floor = nn.Parameter(torch.tensor(-4.0))
        self.layers = nn.ModuleList(
            Attention(width, heads, self.CHANNELS) for _ in range(layers)
        )
        self.left = nn.Linear(width, code)
        self.right = nn.Linear(width, code)
        self.pairs = nn.Linear(self.CHANNELS, 1)

        # Untrained, the walks over neighbours decide.
        with torch.no_grad():
            self.pairs.weight.copy_(torch.tensor([[0.3, 0.3, 1.0, 0.0]]))
            self.pairs.bias.fill_(4.5)
            for linear in (self.left, self.right):
                linear.weight.mul_(0.1)

    def forward(
        self,
        x: Tensor,
        sides: Tensor,
        touching: Tensor,
        affinity: Tensor,
        none: Tensor,
        blocks: Blocks,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sharpen neighbours and affinity.

        Parameters
        ----------
        x : tokens (B, n, w).
        sides, touching : side logits and touching probabilities (B, 4O, n, n).
        affinity : logits (B, n, n).
        none : the logit of having no neighbour.
        blocks : index tables.

        Returns
        -------
        The first four, sharpened.
        """
        # Sides that close a loop of four, or whose fragments belong together, are likelier.
        closed = torch.log(
            blocks.loops(touching).float() + torch.exp(self.loop_floor)
        )
        closed = closed - self.loop_floor
        from_loops = self.from_loops * (closed + blocks.exchange_pairs(closed))
        sides = sides + from_loops + self.from_affinity * affinity[:, None]
        touching = touching_probability(sides, none, blocks)

        # Lazy random walks of 4 and 16 steps over the neighbours.
        identity = torch.eye(x.shape[1], device=x.device)
        walk = (identity + touching.sum(1) / 4) / 2
        walk4 = (walk @ walk) @ (walk @ walk)
        walk16 = (walk4 @ walk4) @ (walk4 @ walk4)

        adjacency = log_sum_exp(sides, 1).clamp(-15, 15)
        channels = [
            adjacency / 4,
            torch.log(walk4.float() + WALK_FLOOR),
            torch.log(walk16.float() + WALK_FLOOR),
            affinity / 4,
        ]
        apart = 1 - identity
        pairs = torch.stack(channels, -1) * apart[:, :, None]
        for layer in self.layers:
            x = layer(x, pairs)

        left = self.left(x)
        right = self.right(x)
        product = left @ right.transpose(-1, -2) / math.sqrt(left.shape[-1])
        symmetric = (product + product.transpose(-1, -2)).float()
        affinity = symmetric + self.pairs(pairs)[..., 0].float()
        return x, sides, touching, affinity * apart


def log_sum_exp(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """torch.logsumexp in steps that onnxruntime vectorises; its own ReduceLogSumExp is slower."""
    most = x.detach().amax(axes, keepdim=True)
    return ((x - most).exp().sum(axes, keepdim=True).log() + most).squeeze(axes)


def touching_probability(sides: Tensor, none: Tensor, blocks: Blocks) -> Tensor:
    """Probability that sides touch: geometric mean of two softmaxes over all partners of a side.

    `none` is the logit of having no neighbour. (B, 4O, n, n) -> the same.
    """
    heaps, _, n, _ = sides.shape
    total = log_sum_exp(sides.reshape(heaps, 4, blocks.count, n, n), (2, 4))
    total = torch.logaddexp(total, none.expand_as(total))  # (B, 4, n)
    other = total[:, blocks.opposite.reshape(-1)]
    own = (
        total[:, :, None].expand(-1, -1, blocks.count, -1).reshape(heaps, -1, n)
    )
    return torch.exp(sides - 0.5 * (own[..., :, None] + other[..., None, :]))


class FragmentNetwork(nn.Module):
    """`forward(fragments, turns)` -> affinity and side logits by round, logit of no neighbour.

    Fragments are uint8 (B, n, s, s, 3), turns int64 [0] or [0, 1, 2, 3]. Affinity logits are
    (B, n, n), side logits (B, 4O, n, n); the side logits begin with those before the first round.
    """

    def __init__(
        self,
        width: int = 160,
        heads: int = 5,
        rounds: int = 3,
        layers: int = 2,
    ):
        super().__init__()
        self.encoder = FragmentEncoder(width)
        self.turned = nn.Parameter(torch.zeros(width))
        self.sides = SideEncoder(width)
        self.gates = nn.Linear(width, 3)

        # Untrained, the handcrafted compatibility leads: softplus(3) = 3.05, softplus(0.5) = 0.97.
        with torch.no_grad():
            self.gates.weight.mul_(0.1)
            self.gates.bias.copy_(torch.tensor([3.0, 0.5, -1.0]))

        self.none = nn.Parameter(torch.tensor(-1.0))
        self.rounds = nn.ModuleList(
            Round(width, heads, layers) for _ in range(rounds)
        )

    def forward(
        self, fragments: Tensor, turns: Tensor
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        heaps, n, s = fragments.shape[:3]
        blocks = Blocks(turns)
        # Pixels from -1 to 1, as (fragments, channels, rows, columns).
        pixels = (
            fragments.reshape(heaps * n, s, s, 3).permute(0, 3, 1, 2).float()
            / 127.5
            - 1
        )
        x = self.encoder(pixels).reshape(heaps, n, -1) + self.turned * (
            turns.shape[0] - 1
        )
        strips = side_strips(pixels).reshape(heaps, n, 4, 3, DEPTH, s)

        same = torch.eye(n, device=pixels.device)
        # Gates decide from the heap how far to trust each cue: noise spoils
        # gradients, and worn sides spoil both.
        gradient, ratio = self.handcrafted_cues(strips, blocks, same)
        gates = functional.softplus(self.gates(x.mean(1)).float())
        ratio_gate, gradient_gate, learned_gate = gates[..., None, None].unbind(
            1
        )
        sides = (
            learned_gate[:, None] * self.sides(strips, x, blocks)
            + ratio_gate[:, None] * ratio
            - gradient_gate[:, None] * gradient.clamp(max=8)
        )
        # No fragment is its own neighbour.
        sides = sides - 1e4 * same

        start = sides
        touching = touching_probability(sides, self.none, blocks)
        affinity = torch.zeros_like(sides[:, 0])
        affinities = []
        all_sides = [sides]
        # Each round reads the affinities of the last one, and mends them.
        for step in self.rounds:
            x, sides, touching, affinity = step(
                x, start, touching, affinity, self.none, blocks
            )
            affinities.append(affinity)
            all_sides.append(sides)

        return affinities, all_sides, self.none

    @staticmethod
    def handcrafted_cues(
        strips: Tensor, blocks: Blocks, same: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logarithms of the gradient dissimilarity, and of the second best of either side to it."""
        heaps, n = strips.shape[:2]
        with torch.autocast(strips.device.type, enabled=False), torch.no_grad():
            # A fragment is not its own neighbour.
            gradient = (
                torch.log(gradient_dissimilarity(strips / 2, blocks))
                + 30 * same
            )
            rows = gradient.reshape(heaps, 4, blocks.count, n, n).transpose(
                2, 3
            )
            second = (
                rows.reshape(heaps, 4, n, -1)
                .topk(2, -1, largest=False)
                .values[..., 1]
            )

            other = second[:, blocks.opposite.reshape(-1)]
            own = (
                second[:, :, None]
                .expand(-1, -1, blocks.count, -1)
                .reshape(heaps, -1, n)
            )
            ratio = (
                own[..., :, None] + other[..., None, :] - 2 * gradient
            ).clamp(-5, 5)
        return gradient, ratio
