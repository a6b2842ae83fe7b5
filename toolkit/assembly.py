"""From groups and the probabilities that sides touch to every fragment's row, column and turn.

Neighbours are float32 (4, O, n, n): entry (a, o, i, j) is the probability that side a of fragment i touches side (a + 2 + o) mod 4
of fragment j, so that j is turned o quarter turns less than i; O is 1 for upright heaps and 4 for turned ones.
"""

import numpy as np

from toolkit.clustering import groups
from toolkit.tasks.fragments import STEPS, Arrangement, Heap, grid_of

LEAST = 1e-4  # probabilities below say no more than this
CANDIDATES = 3  # partners of a side that are tried
SEEDS = 16  # greedy layouts tried when a seam is doubtful
DOUBT = float(np.log(0.2 / LEAST))  # score of a seam of probability 0.2


def arrangement(affinity: np.ndarray, neighbours: np.ndarray, heap: Heap) -> Arrangement:
    """The answer to a heap from its affinity (n, n) in [0, 1] and its neighbours: the steps that all methods share."""
    return arranged(groups(affinity, heap.images, heap.equal), affinity, neighbours, heap)


def arranged(group: np.ndarray, affinity: np.ndarray, neighbours: np.ndarray, heap: Heap) -> Arrangement:
    """The answer once every fragment's group (n,) is chosen."""
    place = np.zeros((3, len(group)), np.int32)
    grid = grid_of(heap)
    for k in range(group.max() + 1):
        members = np.flatnonzero(group == k)
        within = grid if grid and len(members) <= grid**2 else None
        place[:, members] = assembled(neighbours[:, :, members[:, None], members], within)
    same = group[:, None] == group[None]
    np.fill_diagonal(same, False)
    confidence = (affinity * same).sum(1) / np.maximum(same.sum(1), 1)
    return Arrangement(group, *place, confidence.astype(np.float32))


def assembled(neighbours: np.ndarray, grid: int | None) -> np.ndarray:
    """Row, column and turn int32 (3, m) of the fragments of one photograph, within grid x grid places when that is given.

    Pieces grow together along the likeliest sides (Gallagher, CVPR 2012, sec. 3.3); what is left over goes where it fits best.
    When a seam of the result is doubtful, the likeliest of several greedy layouts (Pomeranz et al., CVPR 2011) may replace it.
    """
    scores = np.log(np.maximum(neighbours, LEAST) / LEAST)
    count = scores.shape[2]
    scores[:, :, np.arange(count), np.arange(count)] = 0
    best, seams = completed(scores, grid, merged(scores, grid))
    if count > 1 and seams.min(initial=np.inf) < DOUBT:
        seeds = np.argsort(-scores.max((1, 3)).sum(0), kind="stable")[:SEEDS]
        layouts = [completed(scores, grid, {(0, 0): (int(seed), 0)}) for seed in seeds]
        best, _ = max([(best, seams), *layouts], key=lambda layout: layout[1].sum())
    best[:2] -= best[:2].min(1, keepdims=True)
    return best


def merged(scores: np.ndarray, grid: int | None) -> dict[tuple[int, int], tuple[int, int]]:
    """The largest piece, {(row, column): (fragment, turn)}, that grows when sides are joined from the likeliest down, as long as
    nothing overlaps and the grid is not exceeded."""
    turns, count = scores.shape[1:3]
    rows = scores.transpose(0, 2, 1, 3).reshape(4 * count, -1)
    nearest = np.argsort(-rows, axis=1, kind="stable")[:, :CANDIDATES]
    values = np.take_along_axis(rows, nearest, 1)
    pieces = [{(0, 0): (i, 0)} for i in range(count)]
    home = [((0, 0), 0)] * count  # place and turn of each fragment in its piece
    owner = list(range(count))
    for flat in np.argsort(-values, axis=None, kind="stable"):
        row, k = divmod(int(flat), nearest.shape[1])
        if values[row, k] <= 0:
            break
        a, i = divmod(row, count)
        o, j = divmod(int(nearest[row, k]), count)
        if owner[i] == owner[j]:
            continue
        (r, c), turn = home[i]
        down, right = STEPS[(a + turn) % 4]
        target, quarter = (r + down, c + right), (turn - o - home[j][1]) % turns
        start = turned_place(home[j][0], quarter)
        shift = target[0] - start[0], target[1] - start[1]
        moved = {}
        for place, (member, t) in pieces[owner[j]].items():
            y, x = turned_place(place, quarter)
            moved[y + shift[0], x + shift[1]] = (member, (t + quarter) % turns)
        piece = pieces[owner[i]]
        if moved.keys() & piece.keys() or not fits([*piece, *moved], grid):
            continue
        piece.update(moved)
        for place, (member, t) in moved.items():
            owner[member], home[member] = owner[i], (place, t)
    return max((pieces[k] for k in sorted(set(owner))), key=len)


def turned_place(place: tuple[int, int], quarters: int) -> tuple[int, int]:
    """A place after its piece is set upright from `quarters` more counter-clockwise turns, that is, turned clockwise."""
    row, column = place
    for _ in range(quarters):
        row, column = column, -row
    return row, column


def fits(places: list[tuple[int, int]], grid: int | None) -> bool:
    return grid is None or all(max(axis) - min(axis) < grid for axis in zip(*places, strict=True))


def completed(scores: np.ndarray, grid: int | None, board: dict) -> tuple[np.ndarray, np.ndarray]:
    """Row, column and turn (3, m) once the fragments not on the board went, best first, to free places beside others; and the
    scores of all seams."""
    turns, count = scores.shape[1:3]
    layout = np.zeros((3, count), np.int32)
    free = np.ones(count, bool)
    edge: dict[tuple[int, int], np.ndarray] = {}  # free place -> score (O, m) of each fragment there in each turn
    seams: list[float] = []

    def put(place: tuple[int, int], i: int, turn: int) -> None:
        board[place] = (i, turn)
        layout[:, i] = *place, turn
        free[i] = False
        edge.pop(place, None)
        for d, (down, right) in enumerate(STEPS):
            beside = (place[0] + down, place[1] + right)
            if beside in board:
                j, other = board[beside]
                if not free[j]:
                    seams.append(float(scores[(d - turn) % 4, (turn - other) % turns, i, j]))
            else:
                offered = scores[(d - turn) % 4, (turn - np.arange(turns)) % turns, i]
                edge[beside] = edge[beside] + offered if beside in edge else offered

    for place, (i, turn) in list(board.items()):
        put(place, i, turn)
    while free.any():
        places = [place for place in edge if fits([*limits(board), place], grid)]
        offers = np.stack([edge[place] for place in places])
        offers[:, :, ~free] = -1
        k, turn, i = np.unravel_index(offers.argmax(), offers.shape)
        put(places[k], int(i), int(turn))
    return layout, np.array(seams)


def limits(board: dict) -> tuple[tuple[int, int], tuple[int, int]]:
    """The corners of the smallest rectangle around a board."""
    rows, columns = zip(*board, strict=True)
    return (min(rows), min(columns)), (max(rows), max(columns))
