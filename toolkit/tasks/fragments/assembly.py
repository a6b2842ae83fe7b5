"""From groups and the probabilities that sides touch to every fragment's row, column and turn.

Neighbours are float32 (4, O, n, n): entry (a, o, i, j) is the probability that side a of fragment i touches side (a + 2 + o) mod 4
of fragment j, so that j is turned o quarter turns less than i; O is 1 for upright heaps and 4 for turned ones.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import wraps
from typing import Any

import numpy as np

from hvd.toolkit.tasks.fragments.clustering import groups
from hvd.toolkit.tasks.fragments.types import STEPS, Arrangement, Heap, grid_of

LEAST = 1e-4  # probabilities below say no more than this
CANDIDATES = 3  # partners of a side that are tried
REPAIRS = 4  # times that the doubtful part is laid anew
Place = tuple[int, int]  # row, column
Board = dict[Place, tuple[int, int]]  # the fragment at a place, and its turn
DOUBT = float(np.log(0.2 / LEAST))  # score of a seam of probability 0.2


def in_any_order(predict: Callable) -> Callable:
    """Show a method the fragments sorted by their bytes, so that their order permutes its answer and can change nothing else."""

    @wraps(predict)
    def sorted_predict(method: Any, inputs: Heap) -> Arrangement:
        order = np.array(
            sorted(range(len(inputs.fragments)), key=lambda i: inputs.fragments[i].tobytes())
        )
        found = predict(method, replace(inputs, fragments=inputs.fragments[order]))
        place = np.argsort(order)
        return Arrangement(*(getattr(found, part.name)[place] for part in fields(Arrangement)))

    return sorted_predict


def arrangement(affinity: np.ndarray, neighbours: np.ndarray | None, heap: Heap) -> Arrangement:
    """The answer to a heap from its affinity (n, n) in [0, 1] and its neighbours: the steps that all methods share."""
    return arranged(groups(affinity, heap.images, heap.equal), affinity, neighbours, heap)


def arranged(
    group: np.ndarray, affinity: np.ndarray, neighbours: np.ndarray | None, heap: Heap
) -> Arrangement:
    """The answer once every fragment's group (n,) is chosen; without neighbours each group lies in reading order."""
    place = np.zeros((3, len(group)), np.int32)
    grid = grid_of(heap)
    for k in range(group.max() + 1):
        members = np.flatnonzero(group == k)
        if neighbours is None:
            place[:2, members] = np.divmod(
                np.arange(len(members)), int(np.ceil(len(members) ** 0.5))
            )
        else:
            bound = grid if grid and len(members) <= grid**2 else None
            place[:, members] = assembled(neighbours[:, :, members[:, None], members], bound)

    same = group[:, None] == group[None]
    np.fill_diagonal(same, False)
    confidence = (affinity * same).sum(1) / np.maximum(same.sum(1), 1)
    return Arrangement(group, *place, confidence.astype(np.float32))


def assembled(neighbours: np.ndarray, grid: int | None) -> np.ndarray:
    """Row, column and turn int32 (3, m) of the fragments of one photograph, within grid x grid places when that is given.

    Pieces grow together along the likeliest sides (Gallagher, CVPR 2012), and what is left over goes where it fits best.
    Then the largest piece without a doubtful seam is kept and the rest laid anew, while that makes the whole likelier (Pomeranz
    et al., CVPR 2011).
    """
    scores = np.log(np.maximum(neighbours, LEAST) / LEAST)
    count = scores.shape[2]
    scores[:, :, np.arange(count), np.arange(count)] = 0
    best = completed(scores, grid, merged(scores, grid))

    for _ in range(REPAIRS):
        kept = trusted(scores, best)
        if len(kept) == count:
            break
        again = completed(scores, grid, kept)
        if total(scores, again) <= total(scores, best) + 1e-6:
            break
        best = again

    places = np.array(list(best))
    layout = np.zeros((3, count), np.int32)
    fragments, turns = zip(*best.values(), strict=True)
    layout[:2, fragments] = (places - places.min(0)).T
    layout[2, fragments] = turns

    return layout


def seams(scores: np.ndarray, board: Board) -> Iterator[tuple[Place, Place, float]]:
    """Both places and the score of every two fragments that lie side by side."""
    for (row, column), (i, turn) in board.items():
        for side in (1, 2):
            beside = row + STEPS[side][0], column + STEPS[side][1]
            if beside in board:
                j, other = board[beside]
                yield (
                    (row, column),
                    beside,
                    scores[(side - turn) % 4, (turn - other) % scores.shape[1], i, j],
                )


def total(scores: np.ndarray, board: Board) -> float:
    """Sum of the scores of all seams."""
    return sum(score for _, _, score in seams(scores, board))


def trusted(scores: np.ndarray, board: Board) -> Board:
    """The largest piece that hangs together by seams that are not doubtful, of fragments none of whose seams is."""
    doubtful = {place for *ends, score in seams(scores, board) if score < DOUBT for place in ends}
    piece = {place: place for place in board if place not in doubtful}
    for place, beside, _ in seams(scores, board):
        if place in piece and beside in piece and piece[place] != piece[beside]:
            old = piece[beside]
            new = piece[place]
            piece = {p: new if k == old else k for p, k in piece.items()}

    if not piece:
        return dict([max(board.items(), key=lambda item: scores[:, :, item[1][0]].max())])
    sizes = Counter(piece.values())
    largest = max(sizes, key=sizes.get)

    return {place: board[place] for place in board if piece.get(place) == largest}


def merged(scores: np.ndarray, grid: int | None) -> Board:
    """The largest piece that grows when sides are joined from the likeliest down, as long as
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
        target = (r + down, c + right)
        quarter = (turn - o - home[j][1]) % turns
        start = turned_place(home[j][0], quarter)
        shift = target[0] - start[0], target[1] - start[1]
        shifted = {}
        for place, (member, t) in pieces[owner[j]].items():
            y, x = turned_place(place, quarter)
            shifted[y + shift[0], x + shift[1]] = (member, (t + quarter) % turns)
        piece = pieces[owner[i]]
        if shifted.keys() & piece.keys() or not fits([*piece, *shifted], grid):
            continue
        piece.update(shifted)
        for place, (member, t) in shifted.items():
            owner[member] = owner[i]
            home[member] = (place, t)

    return max((pieces[k] for k in sorted(set(owner))), key=len)


def turned_place(place: Place, quarters: int) -> Place:
    """A place after its piece is set upright from `quarters` more counter-clockwise turns, that is, turned clockwise."""
    row, column = place
    for _ in range(quarters):
        row, column = column, -row
    return row, column


def fits(places: list[Place], grid: int | None) -> bool:
    """Whether places lie within grid x grid."""
    return grid is None or all(max(axis) - min(axis) < grid for axis in zip(*places, strict=True))


def completed(scores: np.ndarray, grid: int | None, start: Board) -> Board:
    """The board once the fragments not on it went, best first, to free places beside others."""
    turns, count = scores.shape[1:3]
    board = {}
    free = np.ones(count, bool)
    edge: dict[
        Place, np.ndarray
    ] = {}  # free place -> score (O, m) of each fragment there in each turn

    def put(place: Place, i: int, turn: int) -> None:
        board[place] = (i, turn)
        free[i] = False
        edge.pop(place, None)
        for side, (down, right) in enumerate(STEPS):
            beside = (place[0] + down, place[1] + right)
            if beside not in board:
                offered = scores[(side - turn) % 4, (turn - np.arange(turns)) % turns, i]
                edge[beside] = edge[beside] + offered if beside in edge else offered

    for place, (i, turn) in start.items():
        put(place, i, turn)
    while free.any():
        corners = limits(board)
        places = [place for place in edge if fits([*corners, place], grid)]
        offers = np.stack([edge[place] for place in places])
        offers[:, :, ~free] = -1
        k, turn, i = np.unravel_index(offers.argmax(), offers.shape)
        put(places[k], int(i), int(turn))

    return board


def limits(board: Board) -> tuple[Place, Place]:
    """The corners of the smallest rectangle around a board."""
    rows, columns = zip(*board, strict=True)
    return (min(rows), min(columns)), (max(rows), max(columns))
