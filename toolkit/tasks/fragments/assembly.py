"""Assemble photographs: find every fragment's row, column and turn.

This needs the group of each fragment, and the probabilities that sides touch. These `neighbours`
are float32 (4, O, n, n): entry (a, o, i, j) is the probability that side a of fragment i touches
side (a + 2 + o) mod 4 of fragment j. Then j is turned o quarter turns less than i. O is 1 when all
fragments are upright and 4 when they may be turned.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import wraps
from typing import Any

import numpy as np

from hvd.toolkit.tasks.fragments.clustering import groups
from hvd.toolkit.tasks.fragments.types import STEPS, Arrangement, Heap, grid_of

LEAST = 1e-4  # lower probabilities count as this one
CANDIDATES = 3  # how many partners are tried for each side
REPAIRS = 4  # how often the doubtful part is laid anew
DOUBT = float(np.log(0.2 / LEAST))  # score of a seam of probability 0.2

Place = tuple[int, int]  # row, column
Board = dict[Place, tuple[int, int]]  # the fragment at a place, and its turn


def in_any_order(predict: Callable) -> Callable:
    """Make the answer of a method independent of the order of the fragments.

    The method is shown the fragments sorted by their bytes, and its answer is put back into the
    order in which they came.
    """

    @wraps(predict)
    def predict_in_order(method: Any, inputs: Heap) -> Arrangement:
        as_bytes = [fragment.tobytes() for fragment in inputs.fragments]
        order = np.array(sorted(range(len(as_bytes)), key=as_bytes.__getitem__))
        answer = predict(
            method, replace(inputs, fragments=inputs.fragments[order])
        )

        place = np.argsort(order)
        return Arrangement(
            *(getattr(answer, part.name)[place] for part in fields(Arrangement))
        )

    return predict_in_order


def arrangement(
    affinity: np.ndarray, neighbours: np.ndarray | None, heap: Heap
) -> Arrangement:
    """Group and assemble a heap: the last steps, which all methods share.

    Parameters
    ----------
    affinity : (n, n) in [0, 1], the probability that two fragments are of one photograph.
    neighbours : as the module says; None lays each group in reading order.
    heap : the fragments and what is known of them.
    """
    return arrangement_of_groups(
        groups(affinity, heap.images, heap.equal), affinity, neighbours, heap
    )


def arrangement_of_groups(
    group: np.ndarray,
    affinity: np.ndarray,
    neighbours: np.ndarray | None,
    heap: Heap,
) -> Arrangement:
    """Assemble a heap whose groups (n,) are chosen; see `arrangement` for the other arguments."""
    place = np.zeros((3, len(group)), np.int32)
    grid = grid_of(heap)

    for k in range(group.max() + 1):
        members = np.flatnonzero(group == k)
        if neighbours is None:
            columns = int(np.ceil(len(members) ** 0.5))
            place[:2, members] = np.divmod(np.arange(len(members)), columns)
        else:
            side = grid if grid and len(members) <= grid**2 else None
            place[:, members] = layout(
                neighbours[:, :, members[:, None], members], side
            )

    # Confidence: how probably a fragment belongs with the others of its group, on average.
    together = group[:, None] == group[None]
    np.fill_diagonal(together, False)
    confidence = (affinity * together).sum(1) / np.maximum(together.sum(1), 1)
    row, column, turn = place
    return Arrangement(group, row, column, turn, confidence.astype(np.float32))


def layout(neighbours: np.ndarray, grid: int | None) -> np.ndarray:
    """Row, column and turn int32 (3, m) of the fragments of one photograph.

    Pieces grow together along the likeliest sides (Gallagher, CVPR 2012), and fragments left over
    go where they fit best. Then the largest piece without a doubtful seam stays and the rest is
    laid anew, as long as that makes the layout likelier (Pomeranz et al., CVPR 2011).

    `grid` limits the photograph to grid x grid places.
    """
    scores = np.log(np.maximum(neighbours, LEAST) / LEAST)
    count = scores.shape[2]
    # No fragment is its own neighbour
    scores[:, :, np.arange(count), np.arange(count)] = 0
    # Begin with the largest piece whose fragments all choose each other,
    # because one wrong seed would spoil the board.
    best = fill_board(scores, grid, largest_piece(scores, grid))

    # Keep what fits well, lay the rest again, and stop once that no longer
    # pays.
    for _ in range(REPAIRS):
        piece = trustworthy_piece(scores, best)
        if len(piece) == count:
            break
        board = fill_board(scores, grid, piece)
        if total_score(scores, board) <= total_score(scores, best) + 1e-6:
            break
        best = board

    # Places may be negative: the board grows in all directions from its seed.
    places = np.array(list(best))
    fragments, turns = zip(*best.values(), strict=True)
    result = np.zeros((3, count), np.int32)
    result[:2, fragments] = (places - places.min(0)).T
    result[2, fragments] = turns
    return result


def seams(
    scores: np.ndarray, board: Board
) -> Iterator[tuple[Place, Place, float]]:
    """Both places and the score of every two fragments that lie side by side."""
    orientations = scores.shape[1]
    for (row, column), (i, turn) in board.items():
        for side in (1, 2):  # to the right and below: every seam once
            beside = row + STEPS[side][0], column + STEPS[side][1]
            if beside in board:
                j, other = board[beside]
                score = scores[
                    (side - turn) % 4, (turn - other) % orientations, i, j
                ]
                yield (row, column), beside, score


def total_score(scores: np.ndarray, board: Board) -> float:
    """Sum of the scores of all seams."""
    return sum(score for _, _, score in seams(scores, board))


def trustworthy_piece(scores: np.ndarray, board: Board) -> Board:
    """The largest connected piece of fragments without a doubtful seam."""
    doubtful = set()
    for place, beside, score in seams(scores, board):
        if score < DOUBT:
            doubtful |= {place, beside}

    # Each place starts as a piece of its own; a seam joins the pieces on either side of it.
    piece = {place: place for place in board if place not in doubtful}
    for place, beside, _ in seams(scores, board):
        if place in piece and beside in piece and piece[place] != piece[beside]:
            old = piece[beside]
            new = piece[place]
            piece = {p: new if k == old else k for p, k in piece.items()}

    # Every seam is doubtful: start from the fragment with the best partner
    if not piece:
        return dict(
            [
                max(
                    board.items(),
                    key=lambda item: scores[:, :, item[1][0]].max(),
                )
            ]
        )

    sizes = Counter(piece.values())
    largest = max(sizes, key=sizes.get)
    return {
        place: board[place] for place in board if piece.get(place) == largest
    }


def largest_piece(scores: np.ndarray, grid: int | None) -> Board:
    """The largest piece that grows when sides are joined from the likeliest down.

    Two sides are joined unless the pieces would overlap or exceed the grid.
    """
    turns, count = scores.shape[1:3]
    pieces = [{(0, 0): (i, 0)} for i in range(count)]
    home = [((0, 0), 0)] * count  # place and turn of each fragment in its piece
    owner = list(range(count))

    for a, i, o, j in likeliest_pairs(scores):
        if owner[i] == owner[j]:
            continue

        # Where fragment j has to go, and how far its piece must be turned for that.
        (row, column), turn = home[i]
        down, right = STEPS[(a + turn) % 4]
        quarters = (turn - o - home[j][1]) % turns
        start = rotate_clockwise(home[j][0], quarters)
        shift = row + down - start[0], column + right - start[1]

        moved = {}
        for place, (member, t) in pieces[owner[j]].items():
            y, x = rotate_clockwise(place, quarters)
            moved[y + shift[0], x + shift[1]] = (member, (t + quarters) % turns)

        piece = pieces[owner[i]]
        if moved.keys() & piece.keys() or not is_within_grid(
            [*piece, *moved], grid
        ):
            continue

        piece.update(moved)
        for place, (member, t) in moved.items():
            owner[member] = owner[i]
            home[member] = (place, t)

    return max((pieces[k] for k in sorted(set(owner))), key=len)


def likeliest_pairs(scores: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """Sides and their best partners as (a, i, o, j), the highest score first.

    Each side has CANDIDATES partners; those with a score of 0 are left out.
    """
    count = scores.shape[2]
    # A row for each side (a, i)
    rows = scores.transpose(0, 2, 1, 3).reshape(4 * count, -1)
    nearest = np.argsort(-rows, axis=1, kind="stable")[:, :CANDIDATES]
    values = np.take_along_axis(rows, nearest, 1)

    for index in np.argsort(-values, axis=None, kind="stable"):
        row, k = divmod(int(index), nearest.shape[1])
        if values[row, k] <= 0:
            return
        a, i = divmod(row, count)
        o, j = divmod(int(nearest[row, k]), count)
        yield a, i, o, j


def rotate_clockwise(place: Place, quarters: int) -> Place:
    """Turn a place clockwise about (0, 0) by quarter turns.

    This sets a piece upright that was turned counter-clockwise by as many.
    """
    row, column = place
    for _ in range(quarters):
        row, column = column, -row
    return row, column


def is_within_grid(places: list[Place], grid: int | None) -> bool:
    """Whether places lie within some grid x grid square."""
    return grid is None or all(
        max(axis) - min(axis) < grid for axis in zip(*places, strict=True)
    )


def fill_board(scores: np.ndarray, grid: int | None, start: Board) -> Board:
    """Put the fragments that `start` lacks beside others, the best fit first."""
    turns, count = scores.shape[1:3]
    board = {}
    free = np.ones(count, bool)

    # For each empty place beside the board: score (O, m) of each fragment there in each turn.
    edge: dict[Place, np.ndarray] = {}

    def put(place: Place, i: int, turn: int) -> None:
        board[place] = (i, turn)
        free[i] = False
        edge.pop(place, None)
        for side, (down, right) in enumerate(STEPS):
            beside = (place[0] + down, place[1] + right)
            if beside not in board:
                offered = scores[
                    (side - turn) % 4, (turn - np.arange(turns)) % turns, i
                ]
                edge[beside] = (
                    edge[beside] + offered if beside in edge else offered
                )

    for place, (i, turn) in start.items():
        put(place, i, turn)

    while free.any():
        corners = corners_of(board)
        places = [
            place for place in edge if is_within_grid([*corners, place], grid)
        ]
        offers = np.stack([edge[place] for place in places])
        offers[:, :, ~free] = -1
        best = np.unravel_index(offers.argmax(), offers.shape)
        k, turn, i = (int(index) for index in best)
        put(places[k], i, turn)

    return board


def corners_of(board: Board) -> tuple[Place, Place]:
    """Top left and bottom right place of the smallest rectangle around a board."""
    rows, columns = zip(*board, strict=True)
    return (min(rows), min(columns)), (max(rows), max(columns))
