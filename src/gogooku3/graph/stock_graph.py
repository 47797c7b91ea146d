"""The graph of stocks as plain arrays: neighbours, signed weights and the as-of day."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gogooku3.errors import DataError, choices

_KEYS = ("n_nodes", "n_edges", "edge_index", "edge_weight", "codes", "as_of")


def refuse_repeats(codes: Sequence[str]) -> None:
    """Check that no node is listed twice.

    Raises:
        DataError: with the repeated codes.
    """
    if len(set(codes)) < len(codes):
        repeated = [code for code, count in Counter(codes).items() if count > 1]
        raise DataError(f"repeated stock codes: {choices(repeated)}; pass each once")


@dataclass(frozen=True, eq=False)
class StockGraph:
    """Directed edges between stocks, known at the close of `as_of`; self-loops are not edges.

    Each stock (a receiving node) has up to `K` neighbours (source nodes), strongest first. The
    rest of its row is padding: its own index, weight 0, `valid` False. The arrays are shared,
    not copied: treat them as read-only.

    Also works like a mapping: `n_nodes`, `n_edges`, `edge_index` (int64 `[2, E]`, row 0 the
    source, row 1 the receiver), `edge_weight` (float32 `[E]`), `codes` and `as_of`.

    >>> graph = StockGraph(
    ...     codes=("A", "B"),
    ...     neighbours=np.array([[1], [1]]),
    ...     weights=np.array([[-0.5], [0.0]], dtype=np.float32),
    ...     valid=np.array([[True], [False]]),
    ...     as_of=dt.date(2024, 1, 31),
    ... )
    >>> graph["n_nodes"], graph["n_edges"], graph["edge_index"].tolist()
    (2, 1, [[1], [0]])
    """

    codes: tuple[str, ...]
    """Stock of each node, `[N]`."""
    neighbours: NDArray[np.int64]
    """Source nodes of each receiving node, `[N, K]`; padded with the node's own index."""
    weights: NDArray[np.float32]
    """Signed correlations, `[N, K]`; 0 at padding."""
    valid: NDArray[np.bool_]
    """True at edges, False at padding, `[N, K]`."""
    as_of: dt.date | None
    """Newest day whose returns were used; None if no day was."""

    def __post_init__(self) -> None:
        shape = self.neighbours.shape
        same = self.weights.shape == self.valid.shape == shape
        if not same or len(shape) != 2 or shape[0] != len(self.codes):
            raise DataError(
                f"neighbours, weights and valid must all be [{len(self.codes)} stocks, K]; they are "
                f"{list(shape)}, {list(self.weights.shape)} and {list(self.valid.shape)}"
            )

    @property
    def n_nodes(self) -> int:
        """Number of stocks."""
        return len(self.codes)

    @property
    def n_edges(self) -> int:
        """Number of directed edges, self-loops not counted."""
        return int(self.valid.sum())

    @property
    def edge_index(self) -> NDArray[np.int64]:
        """`[2, E]`: source (row 0) and receiver (row 1), by receiver, strongest first."""
        receivers, slots = np.nonzero(self.valid)
        return np.stack([self.neighbours[receivers, slots], receivers])

    @property
    def edge_weight(self) -> NDArray[np.float32]:
        """`[E]`: signed correlation of each edge, in the order of `edge_index`."""
        return self.weights[self.valid]

    def keys(self) -> tuple[str, ...]:
        """Names that `graph[name]` accepts."""
        return _KEYS

    def __getitem__(self, name: str) -> Any:
        if name not in _KEYS:
            raise KeyError(f"a graph has no {name!r}; it has {choices(_KEYS)}")
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(_KEYS)

    def __eq__(self, other: object) -> bool:
        """Compare stocks, date, edges and weights bit for bit."""
        if not isinstance(other, StockGraph):
            return NotImplemented
        arrays = ("neighbours", "weights", "valid")
        same_arrays = all(np.array_equal(getattr(self, name), getattr(other, name)) for name in arrays)
        return same_arrays and (self.codes, self.as_of) == (other.codes, other.as_of)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"StockGraph(n_nodes={self.n_nodes}, n_edges={self.n_edges}, as_of={self.as_of})"

    def to_dense(self) -> NDArray[np.float32]:
        """Adjacency `[N, N]` float32: row = receiver, column = source, signed, no self-loops."""
        dense = np.zeros((self.n_nodes, self.n_nodes), dtype=np.float32)
        source, receiver = self.edge_index
        dense[receiver, source] = self.edge_weight
        return dense

    def edge_turnover(self, other: "StockGraph") -> float:
        """Share of edges changed between two graphs, from 0 (the same) to 1 (none kept).

        One minus the edges in both over the edges of the larger graph: replacing three of ten
        edges gives 0.3. Edges are pairs of codes; order, weights and signs don't count.
        Two graphs without edges give 0.
        """
        if (larger := max(self.n_edges, other.n_edges)) == 0:
            return 0.0
        node = {code: i for i, code in enumerate(dict.fromkeys(self.codes + other.codes))}
        kept = np.intersect1d(_edge_ids(self, node), _edge_ids(other, node), assume_unique=True)
        return 1.0 - kept.size / larger

    def subset(self, codes: Iterable[str]) -> "StockGraph":
        """Return the graph of `codes`, in that order, with the edges between two of them.

        Raises:
            DataError: a code is not in the graph, or is repeated.
        """
        requested = tuple(codes)
        position = {code: i for i, code in enumerate(self.codes)}
        if unknown := [code for code in requested if code not in position]:
            raise DataError(f"not in the graph: {choices(unknown)}; it has {choices(self.codes)}")
        refuse_repeats(requested)
        rows = np.array([position[code] for code in requested], dtype=np.int64)
        renumbered = np.full(self.n_nodes, -1, dtype=np.int64)
        renumbered[rows] = np.arange(len(rows))
        sources = renumbered[self.neighbours[rows]]
        kept = self.valid[rows] & (sources >= 0)
        edges_first = np.argsort(~kept, axis=1, kind="stable")
        valid = np.take_along_axis(kept, edges_first, axis=1)
        weights = np.take_along_axis(self.weights[rows], edges_first, axis=1)
        own = np.arange(len(rows), dtype=np.int64)[:, None]
        return StockGraph(
            codes=requested,
            neighbours=np.where(valid, np.take_along_axis(sources, edges_first, axis=1), own),
            weights=np.where(valid, weights, np.float32(0)),
            valid=valid,
            as_of=self.as_of,
        )


def _edge_ids(graph: StockGraph, node: dict[str, int]) -> NDArray[np.int64]:
    """One integer per edge, comparable between graphs that share the numbering `node`."""
    renumber = np.array([node[code] for code in graph.codes], dtype=np.int64)
    source, receiver = renumber[graph.edge_index]
    return np.asarray(receiver * len(node) + source)
